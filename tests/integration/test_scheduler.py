"""What becomes of jobs when the GPU process fails in ways that no test can bring about in time: a ledger on disk, and a
process that reports what it is told to."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ulid import ULID

from pipelines import protocol
from pipelines.model_card import ModelCard
from server.jobs import JobType
from server.ledger import clients, credits, jobs
from server.ledger.database import Database, connect, transaction
from server.models_file import load_models
from server.models_watch import ModelsFile
from server.scheduler import scheduler as loop
from server.scheduler.events import EventHub
from server.scheduler.process import Worker
from server.scheduler.scheduler import MOST_DEATHS, Scheduler
from server.settings import Settings
from server.workflows.background import BACKGROUND_GENERATOR
from server.workflows.registry import deliver
from tests.support.files import models_file, request_row
from tests.support.server import SPEC


class Puppet(Worker):
    """The parent's end of a GPU process that is not there."""

    def __init__(self) -> None:
        self.orders: list[protocol.Order] = []
        self.killed = False

    def follow(self, on_report: Any, on_death: Any) -> None:
        self.report: Callable[[protocol.Report], None] = lambda report: on_report(self, report)
        self.die: Callable[[], None] = lambda: on_death(self, -9)

    @property
    def pid(self) -> int:
        return 0

    def send(self, order: protocol.Order) -> None:
        self.orders.append(order)

    def kill(self) -> None:
        self.killed = True

    def wait(self, timeout_s: float) -> bool:
        return True

    @property
    def entered(self) -> list[protocol.Enter]:
        return [order for order in self.orders if isinstance(order, protocol.Enter)]


class Box:
    """A scheduler on a real ledger, whose GPU processes are puppets."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.settings = Settings(data=folder, models=models)
        self.models = ModelsFile(models)
        self.database = Database(self.settings.database)
        self.connection = connect(self.settings.database)
        with transaction(self.connection):
            self.client = clients.add(self.connection, "studio", test=False)
            credits.grant(self.connection, self.client, 10_000)
        self.puppets = [Puppet()]
        self.scheduler = Scheduler(self.settings, self.models, self.database, EventHub(), self.puppets[0], deliver)

    def make_puppet(self, *_: Any, **__: Any) -> Puppet:
        self.puppets.append(Puppet())
        return self.puppets[-1]

    @property
    def puppet(self) -> Puppet:
        return self.puppets[-1]

    async def up(self) -> None:
        """The present GPU process says that it has started."""
        await until(lambda: self.scheduler.state == "starting")
        self.puppet.report(protocol.Started("cpu", "a puppet"))

    async def submit(self, **spec: Any) -> str:
        checked = BACKGROUND_GENERATOR.check({**SPEC, **spec}, self.models.current)
        plan = BACKGROUND_GENERATOR.resolve(checked, self.models.current)
        new = jobs.NewJob(
            client_id=self.client,
            job_type=JobType.BACKGROUND_GENERATOR,
            request=msgspec.to_builtins(checked),
            plan=plan,
            credits_cost=5,
            label="test",
        )
        row = request_row(str(ULID()))
        accepted, _ = await self.scheduler.dispatch(lambda connection: jobs.accept(connection, new, row, None))
        return accepted.job_id

    def ended(self, *job_ids: str) -> list[str | None]:
        """The reason each job failed for; None where it has not ended."""
        found = []
        for job_id in job_ids:
            row = self.connection.execute(
                "SELECT status, (SELECT extra FROM events WHERE job_id = jobs.id ORDER BY seq DESC LIMIT 1) AS extra"
                " FROM jobs WHERE public_id = ?",
                (job_id,),
            ).fetchone()
            found.append(msgspec.json.decode(row["extra"])["reason"] if row["status"] == "FAILURE" else None)
        return found

    async def enters(self, job_id: str) -> None:
        """Wait until the present GPU process was sent the job."""
        await until(lambda: any(order.item.job_id == job_id for order in self.puppet.entered))

    async def fails(self, job_id: str, reason: str) -> None:
        await until(lambda: self.ended(job_id) == [reason])

    def told(self, job_id: str) -> str:
        """The message of the job's last event."""
        row = self.connection.execute(
            "SELECT message FROM events WHERE job_id = (SELECT id FROM jobs WHERE public_id = ?) ORDER BY seq DESC",
            (job_id,),
        ).fetchone()
        return str(row["message"])

    def broke(self, job_ids: list[str], model: str, shape: int, made_room: bool = False) -> None:
        """The GPU process ran out of memory."""
        self.puppet.report(
            protocol.Broke("out_of_memory", "no memory", tuple(job_ids), model, "r", 512, 512, shape, made_room)
        )


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not so within 5 s")


@pytest.fixture
def cards() -> dict[str, Any]:
    return {}


Play = Callable[[Callable[[Box], Awaitable[None]]], None]


@pytest.fixture
def play(cards: dict[str, Any], tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Plays a scene on a box with the models `a` and `b`."""
    models = models_file(tmp_path / "models.toml", {"a": tiny_folders["good"], "b": tiny_folders["flat"]}, **cards)

    async def run(scene: Callable[[Box], Awaitable[None]]) -> None:
        box = Box(tmp_path / "data", models)
        monkeypatch.setattr(loop, "Worker", box.make_puppet)
        monkeypatch.setattr(loop, "RESTART_S", (0.0, 0.01, 0.01))
        await box.scheduler.start()
        await box.up()
        try:
            await scene(box)
        finally:
            await box.scheduler.stop()
            totals = credits.totals(box.connection, box.client)
            box.database.close()
        assert totals.balance == totals.granted - totals.spent + totals.refunded

    return lambda scene: asyncio.run(run(scene))


@pytest.mark.parametrize("cards", [{"max_batch": 1}])
def test_a_load_that_fails_is_not_put_down_to_another_models_job(play: Play) -> None:
    async def scene(box: Box) -> None:
        box.puppet.report(protocol.Loading("a"))
        job_id = await box.submit(image_model="b")
        box.puppet.die()
        await box.up()
        await until(lambda: [order.item.job_id for order in box.puppet.entered] == [job_id])
        assert box.ended(job_id) == [None]
        assert not box.puppet.entered[0].alone
        box.puppet.report(protocol.Loading("b"))
        box.puppet.die()
        await box.fails(job_id, "worker_crashed")

    play(scene)


@pytest.mark.parametrize("cards", [{"max_batch": 1}])
def test_an_image_that_is_never_written_answers_for_itself(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "WRITE_TIMEOUT_S", 0.1)

    async def scene(box: Box) -> None:
        written, next_one = await box.submit(seed=1), await box.submit(seed=2)
        box.puppet.report(protocol.Freed(written))
        await until(lambda: box.puppet.killed)
        box.puppet.die()
        await box.fails(written, "write_timeout")
        await box.up()
        await until(lambda: [order.item.job_id for order in box.puppet.entered] == [next_one])
        assert box.ended(next_one) == [None]

    play(scene)


@pytest.mark.parametrize("cards", [{"max_batch": 1}])
def test_a_job_that_is_there_at_every_death_ends_in_time(play: Play) -> None:
    async def scene(box: Box) -> None:
        written = await box.submit(seed=0)
        for death in range(1, MOST_DEATHS + 1):
            assert box.ended(written) == [None]
            in_slot = await box.submit(seed=death, image_model="b")
            await box.enters(written)
            box.puppet.report(protocol.Freed(written))
            await box.enters(in_slot)
            box.puppet.die()
            await box.fails(in_slot, "worker_crashed")
            await box.up()
        await box.fails(written, "worker_crashed")

    play(scene)


@pytest.mark.parametrize("cards", [{"max_batch": 2, "reproducible": "true"}])
def test_slots_that_are_pinned_stay_as_many_where_memory_runs_out(play: Play) -> None:
    async def scene(box: Box) -> None:
        both = [await box.submit(seed=1), await box.submit(seed=2)]
        box.broke(both, "a", 2)
        await until(lambda: len(box.puppet.entered) == 4)
        # One of them may have been too large: each answers for itself, at the same shape.
        assert {(order.shape, order.alone) for order in box.puppet.entered[2:]} == {(2, True)}
        assert box.ended(*both) == [None, None]
        box.broke([box.puppet.entered[2].item.job_id], "a", 2)
        await box.fails(both[0], "out_of_memory")
        assert "reproducible = true pins a" in box.told(both[0])
        assert box.ended(both[1]) == [None]

    play(scene)


@pytest.mark.parametrize("cards", [{"max_batch": 1}])
def test_other_models_make_room_once(play: Play) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit()
        assert not box.puppet.entered[0].make_room
        box.broke([job_id], "a", 1, made_room=True)
        await until(lambda: len(box.puppet.entered) == 2)
        # The others have to leave again, where they were loaded meanwhile.
        assert box.puppet.entered[1].make_room
        assert box.ended(job_id) == [None]
        box.broke([job_id], "a", 1, made_room=True)
        await box.fails(job_id, "out_of_memory")

    play(scene)


@pytest.mark.parametrize("cards", [{"max_batch": 4, "batch_shapes": [4]}])
def test_memory_that_ran_out_for_nobody_tells_nothing(play: Play) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit()
        box.broke([], "a", 4, made_room=True)
        box.broke([], "a", 4)
        box.puppet.report(protocol.Cancelled(job_id))
        await box.submit(seed=2)
        assert [order.shape for order in box.puppet.entered] == [4, 4]
        box.broke([box.puppet.entered[1].item.job_id], "a", 4)
        await until(lambda: len(box.puppet.entered) == 3)
        assert box.puppet.entered[2].shape == 2

    play(scene)


def test_pins_and_the_default_model_are_told(play: Play) -> None:
    async def scene(box: Box) -> None:
        assert box.puppet.orders == [protocol.Pin(()), protocol.Load(card(box, "a"))]
        text = box.settings.models.read_text()
        box.settings.models.write_text(
            text.replace('default_model = "a"', 'default_model = "b"').replace(
                "[models.a]", "[models.a]\npinned = true"
            )
        )
        box.models.current = load_models(box.settings.models)
        box.scheduler.models_changed()
        assert box.puppet.orders[2:] == [protocol.Pin(("a",)), protocol.Load(card(box, "b"))]

    def card(box: Box, name: str) -> ModelCard:
        return box.models.current.models[name]

    play(scene)


def test_a_process_that_cannot_be_forked_is_tried_later_and_later(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(box: Box) -> None:
        def refuse(*_: Any, **__: Any) -> Worker:
            raise OSError("Resource temporarily unavailable")

        monkeypatch.setattr(loop, "Worker", refuse)
        box.puppet.die()
        await until(lambda: box.scheduler.deaths > 3)
        assert "died" in str(box.scheduler.reason_not_ready)
        monkeypatch.setattr(loop, "Worker", box.make_puppet)
        await box.up()
        assert box.scheduler.reason_not_ready is not None
        box.puppet.report(protocol.Loaded("a", "r", 0.0))
        assert box.scheduler.reason_not_ready is None

    play(scene)
