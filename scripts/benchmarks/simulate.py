"""Compares the scheduler's queue with first come, first served on simulated traces, and measures the cost of a decision.

The simulated GPU has a fixed number of slots, and an image stays in its slot for a fixed time. A model that is not in
memory takes a fixed time to load, during which nothing runs. The queue is the product's own.
"""

import random
import statistics
import time
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

import msgspec

from server.scheduler.queue import Affinity, BatchKey, Queue, Waiting

SLOTS = 4
IMAGE_S = 4.0
LOAD_S = 10.0


class Policy(Protocol):
    def add(self, image: Waiting) -> None: ...
    def next(self, now: float, gpu: Affinity) -> Waiting | None: ...
    def next_for(self, key: BatchKey, now: float, gpu: Affinity) -> Waiting | None: ...
    def take(self, image: Waiting, now: float, gpu: Affinity) -> None: ...


class FirstCome:
    """The oldest image goes next, whatever its model or client."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()

    def add(self, image: Waiting) -> None:
        self._waiting.append(image)

    def next(self, now: float, gpu: Affinity) -> Waiting | None:
        return self._waiting[0] if self._waiting else None

    def next_for(self, key: BatchKey, now: float, gpu: Affinity) -> Waiting | None:
        return self._waiting[0] if self._waiting and self._waiting[0].key == key else None

    def take(self, image: Waiting, now: float, gpu: Affinity) -> None:
        self._waiting.popleft()


class Result(msgspec.Struct, frozen=True):
    loads: int
    makespan_s: float
    #: By client, the 99th percentile of the seconds from arrival to entering a slot.
    p99_wait_s: dict[int, float]


def run(trace: list[Waiting], policy: Policy) -> Result:
    """Serve a trace, which is sorted by arrival, with one GPU that holds one model at a time."""
    now, loads, gpu = 0.0, 0, Affinity()
    coming = deque(trace)
    busy: list[float] = []
    key: BatchKey | None = None
    waits: dict[int, list[float]] = {}

    def enter(image: Waiting) -> None:
        policy.take(image, now, gpu)
        waits.setdefault(image.client_id, []).append(now - image.arrived)
        heappush(busy, now + IMAGE_S)

    while True:
        while coming and coming[0].arrived <= now:
            policy.add(coming.popleft())
        while len(busy) < SLOTS and key is not None and busy and (image := policy.next_for(key, now, gpu)):
            enter(image)
        if not busy and (image := policy.next(now, gpu)):
            if image.key.model not in gpu.loaded:
                now, loads = now + LOAD_S, loads + 1
            key = image.key
            enter(image)
            gpu.loaded = {key.model: "revision"}
            continue
        if busy and (not coming or busy[0] <= coming[0].arrived):
            now = max(now, heappop(busy))
        elif coming:
            now = max(now, coming[0].arrived)
        else:
            return Result(loads, now, {client: _p99(found) for client, found in sorted(waits.items())})


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else values[0]


def poisson(seed: int, count: int, per_s: float, clients: list[int], models: list[str]) -> list[Waiting]:
    """Return independent arrivals of random clients and models."""
    rng = random.Random(seed)
    moment, images = 0.0, []
    for index in range(count):
        moment += rng.expovariate(per_s)
        images.append(_image(f"p{seed}-{index}", rng.choice(clients), rng.choice(models), moment))
    return images


def _image(name: str, client: int, model: str, arrived: float) -> Waiting:
    return Waiting(name, client, BatchKey(model, 1024, 1024, 30, 5.0), arrived)


def flood(seed: int) -> list[Waiting]:
    """Return a trace in which one client sends 500 images at once, and four others send one now and then."""
    rest = poisson(seed, 200, 0.2, [2, 3, 4, 5], ["sdxl", "flux"])
    return sorted([*(_image(f"f{i}", 1, "sdxl", 0.0) for i in range(500)), *rest], key=lambda image: image.arrived)


TRACES: dict[str, Callable[[int], list[Waiting]]] = {
    "two models, half load": lambda seed: poisson(seed, 1000, 0.5, [1, 2, 3], ["sdxl", "flux"]),
    "three models, full load": lambda seed: poisson(seed, 1000, 0.9, [1, 2, 3, 4], ["sdxl", "flux", "qwen"]),
    "backlog of 600, two models": lambda seed: [
        msgspec.structs.replace(image, arrived=0.0) for image in poisson(seed, 600, 1.0, [1, 2, 3], ["sdxl", "flux"])
    ],
    "one client floods, four trickle": flood,
}


def decision_cost(waiting: int) -> float:
    """Return the median seconds of choosing, taking and adding one image, while `waiting` images of 20 clients wait."""
    queue, gpu = Queue(), Affinity(loaded={"sdxl": "revision"})
    models = ["sdxl", "flux", "qwen"]
    for index in range(waiting):
        queue.add(_image(str(index), index % 20, models[index % 3], float(index)))
    times = []
    for index in range(2000):
        started = time.perf_counter()
        image = queue.next(waiting + index, gpu)
        assert image is not None
        queue.take(image, waiting + index, gpu)
        queue.add(_image(f"n{index}", index % 20, models[index % 3], waiting + index))
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    print(f"{SLOTS} slots, {IMAGE_S:g} s an image, {LOAD_S:g} s a load; medians of 5 traces each\n")
    print(f"{'trace':34}{'policy':8}{'loads':>7}{'makespan':>10}{'p99 wait, worst client':>25}{'best client':>13}")
    for name, make in TRACES.items():
        for label, policy in (("FCFS", FirstCome), ("ours", Queue)):
            results = [run(make(seed), policy()) for seed in range(5)]
            loads = statistics.median(result.loads for result in results)
            makespan = statistics.median(result.makespan_s for result in results)
            worst = statistics.median(max(result.p99_wait_s.values()) for result in results)
            best = statistics.median(min(result.p99_wait_s.values()) for result in results)
            print(f"{name:34}{label:8}{loads:7.0f}{makespan:8.0f} s{worst:23.0f} s{best:11.0f} s")
    print("\none decision (choose, take, add), 20 clients, 3 models, median of 2000:")
    for waiting in (10**3, 10**4, 10**5, 10**6):
        print(f"  {waiting:>9,} waiting: {decision_cost(waiting) * 1e6:7.1f} µs")
