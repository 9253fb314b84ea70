"""Measures how the server scales with devices whose steps are sleeps, and what a decision costs with many devices.

The first part sends jobs over HTTP and counts the jobs whose ends are on disk. The second drives the scheduler, on a real
ledger, with processes that answer at once: every image is a decision, an order, a report and a settlement.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks import plot
from pipelines import protocol
from server.ledger import credits
from server.ledger.connection import transaction
from server.scheduler.devices import Device
from server.scheduler.scheduler import Scheduler
from server.workflows.registry import result_of
from tests.support.box import Box
from tests.support.fake_process import recipe_of
from tests.support.files import models_file
from tests.support.server import ROOT, Server, wait_for
from tests.support.weights import bare_folder

DEVICES = (1, 2, 4, 8, 16)
#: An image takes 2 s, and four share a device. Its 2 images/s are those of a fast GPU with SDXL at 512 × 512.
STEPS, SLOTS = 20, 4
#: Images for each slot.
ROUNDS = 12
#: To count decisions: the images of a job, the images that wait, and the images that are chosen.
IMAGES, WAITING, MEASURED = 8, 100_000, 10_000
PLOT = ROOT / "docs" / "devices.svg"


class SleepingServer(Server):
    module = "benchmarks.sleeping_server"


def images_per_s(devices: int) -> float:
    """Return how many images a second are finished, by way of HTTP and the ledger."""
    with TemporaryDirectory(prefix="backlot-bench-") as name, ThreadPoolExecutor(8) as threads:
        folder = Path(name)
        model = bare_folder(folder / "model")
        models = models_file(
            folder / "models.toml", {"sleep": model}, steps=STEPS, max_batch=SLOTS, reproducible="true"
        )
        server = SleepingServer(
            folder / "data",
            models,
            BACKLOT_DEVICES=",".join(["cpu"] * devices),
            BACKLOT_QUEUE_LIMIT="100000",
            BACKLOT_LOG_LEVEL="ERROR",
            PYTHONPATH=f"{ROOT}:{ROOT / 'scripts'}",
        )
        server.start()
        try:
            server.backlot("clients", "grant", "studio", "100000000")
            wait_for(lambda: all(found["models"] for found in server.client.get("/readyz").json()["devices"]), 60)
            sent = devices * SLOTS * ROUNDS
            list(threads.map(lambda _: server.submit(), range(sent)))
            # Leave out the first round, in which slots fill one after the other, and the last, in which they empty.
            began, first = _when(server, devices * SLOTS)
            finished, last = _when(server, sent - devices * SLOTS)
            return (last - first) / (finished - began)
        finally:
            server.stop()


def _when(server: Server, jobs: int) -> tuple[float, int]:
    """Wait until this many jobs have succeeded on disk; return the moment, and how many had by then."""
    while True:
        found = re.search(r'backlot_jobs_ended_total\{outcome="success"\} (\d+)', server.client.get("/metrics").text)
        now, ended = time.monotonic(), int(found[1]) if found else 0
        if ended >= jobs:
            return now, ended
        time.sleep(0.05)


class ImmediateProcess:
    """A GPU process that reports its oldest image as generated when `answer` is called, and writes no file."""

    pid = 0

    def __init__(self) -> None:
        self.orders: deque[protocol.Generate] = deque()
        self.report: Callable[[protocol.Report], None] = lambda _: None

    def follow(self, on_report: Callable[[protocol.Report], None], on_exit: Callable[[int], None]) -> None:
        self.report = on_report
        asyncio.get_running_loop().call_soon(on_report, protocol.Started("cpu", "at once", "0"))

    def send(self, order: protocol.Order) -> None:
        if isinstance(order, protocol.Generate):
            self.orders.append(order)
        elif isinstance(order, protocol.Load):
            self.report(protocol.Loaded(order.card.name, "revision", 0.0))

    def kill(self) -> None:
        pass

    def wait(self, timeout_s: float) -> bool:
        return True

    def answer(self) -> None:
        order = self.orders.popleft()
        image_id = order.item.image_id
        self.report(protocol.LeftSlot(image_id))
        timings = {"denoising_s": 1.0, "decoding_s": 0.0}
        self.report(protocol.Generated(image_id, recipe_of(order), None, None, timings))


async def decisions_per_s(devices: int) -> float:
    """Return how many images a second the scheduler chooses, orders and settles while WAITING more wait."""
    with TemporaryDirectory(prefix="backlot-bench-") as name:
        box = Box(Path(name), max_batch=SLOTS, reproducible="true")
        processes = [ImmediateProcess() for _ in range(devices)]
        places = [
            Device(name=f"cuda:{index}", start=lambda process=process: process, log="none")  # type: ignore[misc]
            for index, process in enumerate(processes)
        ]
        settings = msgspec.structs.replace(box.settings, queue_limit=10**7)
        with transaction(box.connection):
            credits.grant(box.connection, box.client, 10**8)
        box.scheduler = Scheduler(settings, box.models, box.database, box.hub, result_of, places)
        await box.scheduler.start()
        await asyncio.sleep(0)
        jobs = -(-(WAITING + MEASURED) // IMAGES)
        for begin in range(0, jobs, 64):
            await asyncio.gather(*(box.submit(n=IMAGES) for _ in range(begin, min(begin + 64, jobs))))
        started = time.perf_counter()
        for index in range(MEASURED):
            processes[index % devices].answer()
            if index % 256 == 0:
                # Let the ledger's answers come back.
                await asyncio.sleep(0)
        seconds = time.perf_counter() - started
        assert box.scheduler.backlog >= WAITING - devices * (SLOTS + 1)
        await box.scheduler.stop()
        box.connection.close()
        box.database.close()
        return MEASURED / seconds


def main() -> None:
    print(f"{STEPS} steps of 0.1 s, {SLOTS} slots: {SLOTS / 2:g} images/s for each device at most\n")
    print(f"{'devices':>8}{'images/s':>10}{'÷ one device':>14}{'÷ linear':>10}")
    found: dict[int, float] = {}
    for devices in DEVICES:
        rate = found[devices] = images_per_s(devices)
        print(f"{devices:>8}{rate:10.2f}{rate / found[1]:14.2f}{rate / found[1] / devices:10.3f}", flush=True)
    PLOT.write_text(plot.lines("images/s ÷ one device", {n: rate / found[1] for n, rate in found.items()}))
    for devices in (1, 64):
        rate = asyncio.run(decisions_per_s(devices))
        print(f"\n{devices} devices, {WAITING:,} waiting: {rate:,.0f} images/s chosen, ordered and settled")
