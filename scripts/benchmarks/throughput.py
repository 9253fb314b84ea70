"""Images a second through HTTP with the full ledger, beside a bare diffusers loop at its best batch."""

import json
import statistics
import subprocess
import sys
import time

from benchmarks.server import SPEC, fresh_server, succeeded
from tests.support.server import ROOT

IMAGES = 32
ROUNDS = 5


class Bare:
    """The bare loop in a process of its own."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare"],
            cwd=ROOT / "scripts",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer()
        #: Seconds from the start of the interpreter to the first file.
        self.first_image_s = time.perf_counter() - self.started

    def rate(self, batch: int, images: int = IMAGES) -> float:
        """Images a second."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"batch": batch, "images": images}) + "\n")
        self._process.stdin.flush()
        return images / self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        return float(json.loads(self._process.stdout.readline()))


def main() -> None:
    bare = Bare()
    batches = {batch: statistics.median(bare.rate(batch, 8) for _ in range(2)) for batch in (1, 2, 4, 8)}
    best = max(batches, key=lambda batch: batches[batch])
    print("bare loop, images/s by batch:", {batch: round(rate, 3) for batch, rate in batches.items()}, f"best {best}")
    ours, theirs = [], []
    with fresh_server() as server:
        server.wait_ready()
        # Enough for every batch size to be measured once.
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
