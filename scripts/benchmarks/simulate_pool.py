"""Simulates several GPUs on one queue, with placement and with each GPU for itself.

Each GPU holds one model at a time. Everything but the GPUs is the product's own: the queue, and the decision which models
a GPU leaves to others.
"""

import statistics
from collections import deque
from heapq import heappop, heappush

import msgspec

from benchmarks.simulate import IMAGE_S, LOAD_S, SLOTS, poisson
from server.scheduler.placement import Served, left_to_others
from server.scheduler.queue import Affinity, BatchKey, Queue, Waiting

GPUS = 4
#: How often a GPU with nothing to do looks again, since patience ends at no event.
LOOK_S = 1.0


class Gpu(msgspec.Struct):
    affinity: Affinity = msgspec.field(default_factory=Affinity)
    #: When each image leaves its slot.
    busy: list[float] = []
    key: BatchKey | None = None


class Result(msgspec.Struct, frozen=True):
    loads: int
    #: Seconds from arrival to entering a slot.
    median_wait_s: float
    p99_wait_s: float


class Pool:
    """The simulated GPUs, and what they have done."""

    def __init__(self, placed: bool) -> None:
        """Let GPUs leave models to each other if `placed`."""
        self._placed = placed
        self._gpus = [Gpu() for _ in range(GPUS)]
        self._queue = Queue()
        self.loads = 0
        self.waits: list[float] = []

    def play(self, trace: list[Waiting]) -> Result:
        """Serve a trace, which is sorted by arrival."""
        now, coming = 0.0, deque(trace)
        while coming or len(self._queue) or any(gpu.busy for gpu in self._gpus):
            while coming and coming[0].arrived <= now:
                self._queue.add(coming.popleft())
            for gpu in self._gpus:
                while gpu.busy and gpu.busy[0] <= now:
                    heappop(gpu.busy)
            while any([self._feed(gpu, now) for gpu in sorted(self._gpus, key=lambda gpu: len(gpu.busy))]):  # noqa: C419
                pass
            events = [gpu.busy[0] for gpu in self._gpus if gpu.busy]
            events += [coming[0].arrived] if coming else []
            events += [now + LOOK_S] if len(self._queue) else []
            now = min(events, default=now)
        percent = statistics.quantiles(self.waits, n=100)
        return Result(self.loads, percent[49], percent[98])

    def _feed(self, gpu: Gpu, now: float) -> bool:
        """Let one image into a slot of a GPU, and return whether there was one."""
        elsewhere = self._elsewhere(gpu)
        if gpu.busy and gpu.key is not None:
            found = self._queue.next_for(gpu.key, now, gpu.affinity, elsewhere) if len(gpu.busy) < SLOTS else None
        else:
            found = self._queue.next(now, gpu.affinity, elsewhere)
        if found is None:
            return False
        begin = max(now, min(gpu.busy) - IMAGE_S) if gpu.busy else now
        if found.key.model not in gpu.affinity.loaded:
            self.loads += 1
            begin += LOAD_S
        self._queue.take(found, now, gpu.affinity)
        gpu.affinity.loaded = {found.key.model: "revision"}
        gpu.key = found.key
        self.waits.append(begin - found.arrived)
        heappush(gpu.busy, begin + IMAGE_S)
        return True

    def _elsewhere(self, gpu: Gpu) -> frozenset[BatchKey]:
        if not self._placed:
            return frozenset()
        others = {key.model for key in self._queue.waiting} - gpu.affinity.loaded.keys()
        left = left_to_others({model: self._served(model) for model in others}, is_empty=not gpu.affinity.loaded)
        return frozenset(key for key in self._queue.waiting if key.model in left)

    def _served(self, model: str) -> Served:
        waiting = sum(images for key, images in self._queue.waiting.items() if key.model == model)
        gpus = sum(model in gpu.affinity.loaded for gpu in self._gpus)
        return Served(gpus, waiting * IMAGE_S / SLOTS, LOAD_S)


def main() -> None:
    print(
        f"\n{GPUS} GPUs of one model each, {SLOTS} slots, {IMAGE_S:g} s an image, {LOAD_S:g} s a load; medians of 5 traces"
    )
    print(f"{'models':>7}{'load':>6}  {'policy':20}{'loads':>7}{'median wait':>13}{'p99 wait':>10}")
    for models in (["sdxl", "flux"], ["sdxl", "flux", "qwen", "z"], [f"model-{index}" for index in range(6)]):
        for load in (0.3, 0.7):
            per_s = load * GPUS * SLOTS / IMAGE_S
            for placed in (False, True):
                results = [Pool(placed).play(poisson(seed, 1000, per_s, [1, 2, 3], models)) for seed in range(5)]
                loads, median, p99 = (
                    statistics.median(getattr(result, name) for result in results)
                    for name in ("loads", "median_wait_s", "p99_wait_s")
                )
                label = "placed" if placed else "each for itself"
                print(f"{len(models):>7}{load:6.0%}  {label:20}{loads:7.0f}{median:11.1f} s{p99:8.1f} s")
