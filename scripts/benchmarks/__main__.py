"""`./scripts/bench [NAME …]`, or `./scripts/bench NAME --OPTION …` of one that has options."""

import sys
from collections.abc import Callable

from benchmarks import (
    cold,
    devices,
    dispatch,
    page,
    palette,
    ray_overhead,
    serving,
    simulate,
    simulate_pool,
    soak,
    swap,
    throughput,
)
from benchmarks.quality import bench as quality

BENCHMARKS: dict[str, Callable[[], None]] = {
    "simulate": simulate.main,
    "throughput": throughput.main,
    "dispatch": dispatch.main,
    "cold": cold.main,
    "serving": serving.main,
    "swap": swap.main,
    "palette": palette.main,
    "placement": simulate_pool.main,
    "devices": devices.main,
    "ray": ray_overhead.main,
    "page": page.main,
    "quality": quality.main,
    "soak": soak.main,
}
#: They take an hour and more, so they run only if they are named.
LONG = {"quality", "soak"}


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
        BENCHMARKS[name]()


main()
