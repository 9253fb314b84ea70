"""`./scripts/bench [NAME …]`, or `./scripts/bench NAME --OPTION …` of one that has options."""

import sys
from importlib import import_module

#: By name, the module whose `main` is run. It is imported when it is: some bring libraries that others do without.
BENCHMARKS = {
    "simulate": "simulate",
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
#: They take an hour and more, or need a GPU, so they run only if they are named.
LONG = {"quality", "gpu", "soak"}


def main() -> None:
    given = sys.argv[1:]
    options = next((index for index, word in enumerate(given) if word.startswith("-")), len(given))
    names = given[:options] or [name for name in BENCHMARKS if name not in LONG]
    # What is left are the options of the benchmark that is named.
    sys.argv[1:] = given[options:]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        print(f"\n── {name} " + "─" * (100 - len(name)), flush=True)
        import_module(f"benchmarks.{BENCHMARKS[name]}").main()


main()
