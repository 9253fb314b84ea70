"""Measures the seconds from a cold start to the first image, beside bare `from_pretrained` and one call."""

import statistics
import time

from benchmarks.server import SPEC, fresh_server, succeeded
from benchmarks.throughput import Bare

ROUNDS = 5


def main() -> None:
    ours, theirs = [], []
    for round_ in range(ROUNDS):
        bare = Bare()
        bare.close()
        theirs.append(bare.first_image_s)
        started = time.perf_counter()
        with fresh_server() as server:
            succeeded(server, server.submit(**SPEC, seed=0))
            ours.append(time.perf_counter() - started)
        print(f"  round {round_}: bare {theirs[-1]:.2f} s, server {ours[-1]:.2f} s", flush=True)
    ratio = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
    print(f"server ÷ bare: {ratio:.3f} (median of {ROUNDS})")
