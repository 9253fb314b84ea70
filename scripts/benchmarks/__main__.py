"""`./scripts/bench [NAME …]`, or `./scripts/bench NAME --OPTION …` of one that has options."""

import sys
from importlib import import_module

#: By name, the module whose `main` is run. Each is imported only if it is run, since some need libraries that others do not.
BENCHMARKS = {
    "simulate": "simulate",
    "bursts": "simulate_bursts",
    "throughput": "throughput",
    "dispatch": "dispatch",
    "cold": "cold",
    "serving": "serving",
    "swap": "swap",
    "palette": "palette",
    "placement": "simulate_pool",
    "devices": "devices",
    "ray": "ray_overhead",
    "page": "page",
    "quality": "quality.bench",
    "gpu": "gpu.bench",
    "soak": "soak",
}
#: These take an hour and more, or need a GPU, so they run only if they are named. They alone have options.
LONG = ("quality", "gpu", "soak")

USAGE = f"""Usage: ./scripts/bench [NAME …]
       ./scripts/bench NAME --OPTION …

Names: {", ".join(BENCHMARKS)}.
Without a name, all run but {", ".join(sorted(LONG))}, which take an hour and more or need a GPU.
Options: {", ".join(LONG)} have some, and tell them after --help."""


def main() -> None:
    given = sys.argv[1:]
    if given[:1] in (["--help"], ["-h"]):
        print(USAGE)
        return
    first_option = next((index for index, word in enumerate(given) if word.startswith("-")), len(given))
    names, options = given[:first_option], given[first_option:]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"There is no benchmark {', '.join(unknown)}\n\n{USAGE}")
    if options and (len(names) != 1 or names[0] not in LONG):
        sys.exit(f"{' '.join(options)} follows no benchmark that has options\n\n{USAGE}")
    # The benchmark reads its options itself.
    sys.argv[1:] = options
    for name in names or [name for name in BENCHMARKS if name not in LONG]:
        print(f"\n── {name} " + "─" * (100 - len(name)), flush=True)
        import_module(f"benchmarks.{BENCHMARKS[name]}").main()


main()
