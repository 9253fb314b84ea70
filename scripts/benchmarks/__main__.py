"""`./scripts/bench [NAME …]`."""

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
    "soak": soak.main,
}
#: They take an hour, so they run only if they are named.
LONG = {"soak"}


def main() -> None:
    names = sys.argv[1:] or [name for name in BENCHMARKS if name not in LONG]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        print(f"\n── {name} " + "─" * (100 - len(name)), flush=True)
        BENCHMARKS[name]()


main()
