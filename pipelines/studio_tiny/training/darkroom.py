"""The darkroom, which renders pictures beside the training, in the order in which they were ordered."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

import msgspec
from tqdm import tqdm

from pipelines.studio_tiny.training.latents import Encoded, Pictures, Pool
from pipelines.studio_tiny.training.pictures import PICTURES, write_shard

#: How many sets are read before they are encoded. Enlarged ones take ten megabytes each.
_AHEAD = 8


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order of `count` sets from number `first` on, at 1/`shrink` of the full size's sides, unless the folder has them."""

    folder: Path
    count: int
    shrink: int
    first: int = 0
    #: How many pictures are made of each set.
    pictures: int = PICTURES


class Darkroom:
    """Processes that render. They have a lower priority than the training, which would wait for them otherwise."""

    def __init__(self, workers: int, seed: int) -> None:
        # Processes that are forked after CUDA has started may crash.
        self._pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=os.nice, initargs=(5,))
        self._seed = seed

    def __enter__(self) -> Darkroom:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def order(self, *orders: Order) -> list[list[Future[Path]]]:
        """Order sets, and return the sets of each order. All orders are made together, and end at about the same time."""
        for order in orders:
            order.folder.mkdir(parents=True, exist_ok=True)
        ordered: list[list[Future[Path]]] = [[] for _ in orders]
        turns = (
            (place / order.count, index, place) for index, order in enumerate(orders) for place in range(order.count)
        )
        for _, index, place in sorted(turns):
            order = orders[index]
            wanted = (order.folder, order.first + place, self._seed, order.shrink, order.pictures)
            ordered[index].append(self._pool.submit(write_shard, *wanted))
        return ordered


def first(ordered: list[Future[Path]], count: int, name: str) -> list[Path]:
    """Wait for the first `count` sets, and return their files."""
    waited = tqdm(ordered[:count], desc=name, unit="set", mininterval=20)
    return [future.result() for future in waited]


class Arrivals:
    """Sets that come into a pool of latents: they are rendered, then read in a thread, then encoded by `take`."""

    def __init__(self, pool: Pool, ordered: list[Future[Path]], reading: ThreadPoolExecutor) -> None:
        self._pool, self._reading = pool, reading
        self._rendered = deque(ordered)
        self._read: deque[Future[Pictures | Encoded]] = deque()

    def take(self) -> None:
        """Add the sets that have arrived to the pool; if the pool is empty, wait for one."""
        if not self._pool.pictures:
            self._pool.add(self._pool.read(self._rendered.popleft().result()))
        while True:
            while len(self._read) < _AHEAD and self._rendered and self._rendered[0].done():
                self._read.append(self._reading.submit(self._pool.read, self._rendered.popleft().result()))
            if not self._read or not self._read[0].done():
                return
            self._pool.add(self._read.popleft().result())
