"""Measures images a second by way of HTTP and the ledger, beside a bare diffusers loop at its best batch size."""

import statistics
import time

from benchmarks.asked_process import AskedProcess
from benchmarks.server import SPEC, fresh_server, succeeded

IMAGES = 32
ROUNDS = 5


class Bare(AskedProcess):
    """The bare loop in a process of its own."""

    def __init__(self) -> None:
        started = time.perf_counter()
        super().__init__("benchmarks.bare")
        self.answer()
        #: Seconds from the start of the interpreter to the first file.
        self.first_image_s = time.perf_counter() - started

    def rate(self, batch: int, images: int = IMAGES) -> float:
        """Return the images a second."""
        return images / float(self.ask(batch=batch, images=images))


def main() -> None:
    bare = Bare()
    batches = {batch: statistics.median(bare.rate(batch, 8) for _ in range(2)) for batch in (1, 2, 4, 8)}
    best = max(batches, key=lambda batch: batches[batch])
    print("bare loop, images/s by batch:", {batch: round(rate, 3) for batch, rate in batches.items()}, f"best {best}")
    ours, theirs = [], []
    with fresh_server() as server:
        server.wait_ready()
        # These are enough for every batch size to be measured once.
        for job_id in [server.submit(**SPEC, seed=seed) for seed in range(24)]:
            succeeded(server, job_id)
        for round_ in range(ROUNDS):
            theirs.append(bare.rate(best))
            started = time.perf_counter()
            jobs = [server.submit(**SPEC, seed=1000 * round_ + index) for index in range(IMAGES)]
            last = succeeded(server, jobs[-1])
            for job_id in jobs:
                succeeded(server, job_id)
            ours.append(IMAGES / (time.perf_counter() - started))
            size = last["result"][0]["meta"]["batch_shape"]
            print(
                f"  round {round_}: bare {theirs[-1]:.3f}, server {ours[-1]:.3f} images/s at batch size {size}",
                flush=True,
            )
    bare.close()
    ratio = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
    print(f"server ÷ bare loop: {ratio:.3f} (median of {ROUNDS} rounds of {IMAGES} images)")
