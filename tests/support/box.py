"""A scheduler on a real ledger, with fake GPU processes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from ulid import ULID

from server.event_hub import EventHub
from server.jobs import Job, JobStatus, JobType
from server.ledger import clients, credits, job_reads
from server.ledger.connection import connect, migrate, transaction
from server.ledger.database import Database
from server.ledger.events import EventRow
from server.models_file import load_models
from server.models_watch import ModelsFile
from server.scheduler.bounds import Bounds
from server.scheduler.devices import Device
from server.scheduler.scheduler import Scheduler
from server.settings import Settings
from server.workflows.registry import WORKFLOWS, result_of
from tests.support.fake_process import FakeGpu, FakeProcess
from tests.support.files import models_file, request_row
from tests.support.server import PATIENCE_S
from tests.support.weights import bare_folder

PRICE = 5
#: Start the next process at once after a crash, and wait for nothing.
QUICK = Bounds(restart_s=0.01, restart_most_s=0.01)


class Box:
    """One server without HTTP: its data folder, its models `a` and `b`, its GPUs."""

    def __init__(self, folder: Path, gpus: int = 1, bounds: Bounds = QUICK, **card: Any) -> None:
        """Make both models' cards from the usual fields and `card`. Without more, a GPU has one slot."""
        folders = {name: bare_folder(folder / name) for name in ("a", "b")}
        toml = models_file(folder / "models.toml", folders, **{"max_batch": 1, **card})
        self.settings = Settings(data=folder / "data", models=toml)
        self.models = ModelsFile(toml)
        migrate(self.settings.database)
        self.database = Database(self.settings.database)
        self.connection = connect(self.settings.database)
        with transaction(self.connection):
            self.client = clients.add(self.connection, "studio", test=False)
            credits.grant(self.connection, self.client, 10_000)
        self.gpus = [FakeGpu() for _ in range(gpus)]
        self.hub = EventHub()
        self.bounds = bounds
        self.scheduler = self.make_scheduler()

    def make_scheduler(self) -> Scheduler:
        devices = [Device(name=f"fake:{index}", start=gpu, log="a log") for index, gpu in enumerate(self.gpus)]
        return Scheduler(self.settings, self.models, self.database, self.hub, result_of, devices, self.bounds)

    @property
    def process(self) -> FakeProcess:
        """The present process of the first GPU."""
        return self.gpus[0].process

    def up(self) -> FakeProcess:
        """Let the process of the first GPU be up, and return it."""
        self.process.start()
        return self.process

    async def crash(self) -> FakeProcess:
        """Let the process of the first GPU crash, and the next one be up; return that."""
        await lose_process(self.gpus[0])
        return self.up()

    async def submit(self, n: int | None = None, **spec: Any) -> str:
        """Submit a background, or a job of `n` images; return its id."""
        accepted, _ = await self.scheduler.add(self.job(n, **spec), "test", request_row(str(ULID())), None)
        return accepted.job_id

    def job(self, n: int | None = None, **spec: Any) -> Job:
        """Return a background, or a job of `n` images, as it would be submitted."""
        job_type = JobType.BACKGROUND_GENERATOR if n is None else JobType.IMAGE_GENERATION
        usual = {"scene_type": "marble", "mood": "warm"} if n is None else {"prompt": "marble", "n": n}
        workflow = WORKFLOWS[job_type]
        checked = workflow.check({**usual, **spec}, self.models.current)
        return Job(
            job_id=str(ULID()),
            client_id=self.client,
            job_type=job_type,
            request=msgspec.to_builtins(checked),
            plan=workflow.resolve(checked, self.models.current),
            credits_cost=PRICE * (n or 1),
        )

    def edit_models(self, before: str, after: str) -> None:
        """Edit models.toml, and let the scheduler take the edit up."""
        self.settings.models.write_text(self.settings.models.read_text().replace(before, after))
        self.models.current = load_models(self.settings.models)
        self.scheduler.models_changed()

    async def restart(self, killed: bool) -> None:
        """Stop the server, or let it be killed, and start it again on the same data, with processes that are up."""
        if killed:
            # No write of the killed server may come after the first read of the next one.
            await self.database.write(lambda _: None)
        else:
            await self.scheduler.stop()
        self.scheduler = self.make_scheduler()
        await self.scheduler.start()
        for gpu in self.gpus:
            gpu.process.start()

    # ── what the ledger says ─────────────────────────────────────────────────────────────────────────────────────────

    def status(self, job_id: str) -> JobStatus:
        return self._detail(job_id).summary.status

    def attempts(self, job_id: str) -> int:
        row = self.connection.execute("SELECT attempts FROM jobs WHERE public_id = ?", (job_id,)).fetchone()
        return int(row["attempts"])

    def events(self, job_id: str) -> list[EventRow]:
        found = job_reads.events_since(self.connection, self.client, job_id, 0)
        assert found is not None
        return found.events

    def last(self, job_id: str) -> EventRow:
        return self.events(job_id)[-1]

    def extras(self, job_id: str, stage: str) -> list[dict[str, Any]]:
        """Return the `extra` of a job's events of one stage."""
        return [event.extra for event in self.events(job_id) if event.stage == stage]

    def results(self, job_id: str) -> list[dict[str, Any]]:
        """Return the `meta` of a job's artifacts."""
        return [artifact.meta for artifact in self._detail(job_id).artifacts]

    async def ends(self, job_id: str) -> JobStatus:
        """Wait for a job to end, and return its status."""
        await until(lambda: self.status(job_id).ended)
        return self.status(job_id)

    async def fails(self, job_id: str, reason: str) -> None:
        """Wait for a job to end, which must be by this failure and with a refund."""
        assert await self.ends(job_id) is JobStatus.FAILURE
        assert self.last(job_id).extra["reason"] == reason
        row = self.connection.execute("SELECT credits_cost FROM jobs WHERE public_id = ?", (job_id,)).fetchone()
        assert self.last(job_id).extra["refunded"] == row["credits_cost"]

    def files(self) -> list[str]:
        """Return the images on disk, by their paths in the images folder."""
        folder = self.settings.images
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def _detail(self, job_id: str) -> job_reads.JobDetail:
        found = job_reads.detail(self.connection, self.client, job_id)
        assert found is not None
        return found


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not so within {PATIENCE_S:g} s"
        await asyncio.sleep(0.005)


async def lose_process(gpu: FakeGpu) -> None:
    """Let the process of a GPU crash, and wait for the next one, which is not up yet."""
    before = len(gpu.processes)
    gpu.process.exit()
    await until(lambda: len(gpu.processes) > before)


def play(box: Box, scene: Callable[[Box], Awaitable[None]]) -> None:
    """Play a scene on a box whose first process is up, and check that no credit was lost or made."""

    async def run() -> None:
        await box.scheduler.start()
        for gpu in box.gpus:
            gpu.process.start()
        try:
            await scene(box)
        finally:
            await box.scheduler.stop()
            totals = credits.totals(box.connection, box.client)
            box.connection.close()
            box.database.close()
        assert totals.balance == totals.granted - totals.spent + totals.refunded

    asyncio.run(run())
