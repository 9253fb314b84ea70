"""One GPU and its process: the states, and the orders to the process."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pipelines import protocol
from pipelines.failure_reason import FailureReason, Fault
from pipelines.model_card import ModelCard
from server.scheduler.batching import SlotGroup
from server.scheduler.bounds import Bounds
from server.scheduler.crash import Crash, restart_pause
from server.scheduler.devices import Device
from server.scheduler.gpu import Gpu
from server.scheduler.gpu_state import TRANSITIONS, GpuState
from server.scheduler.queue import BatchKey
from server.scheduler.recovery import Happened
from tests.support.box import until
from tests.support.fake_process import FakeGpu

CARD = ModelCard.from_flat(name="a", licence="made for tests", tiers=("0.5K",), steps=4, guidance=1.0)


class Told:
    """Everything that a GPU tells the scheduler."""

    def __init__(self) -> None:
        self.reports: list[protocol.Report] = []
        self.crashes: list[Crash] = []

    def on_report(self, _: Gpu, report: protocol.Report) -> None:
        self.reports.append(report)

    def on_crash(self, crash: Crash) -> None:
        self.crashes.append(crash)


def on_gpu(scene: Callable[[Gpu, FakeGpu, Told], Awaitable[None]]) -> None:
    """Play a scene on a GPU that was not started yet."""

    async def run() -> None:
        fake, told = FakeGpu(), Told()
        device = Device(name="fake", start=fake, log="a log")
        await scene(Gpu(device, Bounds()), fake, told)

    asyncio.run(run())


def group() -> SlotGroup:
    return SlotGroup(BatchKey("a", 512, 512, 4, 1.0), CARD, 1)


def item(image_id: str) -> protocol.Item:
    return protocol.Item(image_id, 1, "prompt", "", "/nowhere.png")


IDLE = ModelCard.from_flat(
    name="a", licence="made for tests", tiers=("0.5K",), steps=4, guidance=1.0, idle_unload_s=0.01
)


def unloads(fake: FakeGpu) -> int:
    return sum(isinstance(order, protocol.Unload) for order in fake.process.orders)


def test_a_model_that_no_image_needs_is_unloaded_after_its_time() -> None:
    async def scene(gpu: Gpu, fake: FakeGpu, told: Told) -> None:
        gpu.start(told)
        fake.process.report(protocol.Started("cpu", "a fake", "bits"))
        slots = SlotGroup(BatchKey("a", 512, 512, 4, 1.0), IDLE, 1)
        gpu.groups.open(slots)
        gpu.generate(slots, item("1"))
        fake.process.report(protocol.Loaded("a", "r", 1.0))
        await asyncio.sleep(0.1)
        # An image is in the model's slots.
        assert unloads(fake) == 0
        fake.process.report(protocol.LeftSlot("1"))
        await until(lambda: unloads(fake) == 1)
        # The GPU asks for an unload once, until the process says that the model is gone.
        fake.process.report(protocol.Evicted("a"))
        fake.process.report(protocol.Loaded("a", "r", 1.0))
        await until(lambda: unloads(fake) == 2)
        assert told.crashes == []

    on_gpu(scene)


def test_an_edited_card_decides_when_an_idle_model_leaves() -> None:
    async def scene(gpu: Gpu, fake: FakeGpu, told: Told) -> None:
        gpu.start(told)
        fake.process.report(protocol.Started("cpu", "a fake", "bits"))
        gpu.load(CARD)
        fake.process.report(protocol.Loaded("a", "r", 1.0))
        gpu.take_up({"a": IDLE})
        gpu.take_up({"a": CARD})
        await asyncio.sleep(0.1)
        assert unloads(fake) == 0
        gpu.take_up({"a": IDLE})
        await until(lambda: unloads(fake) == 1)
        assert told.crashes == []

    on_gpu(scene)


def test_a_model_that_is_no_longer_enabled_leaves_memory_once_it_is_idle() -> None:
    async def scene(gpu: Gpu, fake: FakeGpu, told: Told) -> None:
        gpu.start(told)
        fake.process.report(protocol.Started("cpu", "a fake", "bits"))
        slots = group()
        gpu.groups.open(slots)
        gpu.generate(slots, item("1"))
        fake.process.report(protocol.Loaded("a", "r", 1.0))
        gpu.take_up({})
        await asyncio.sleep(0.1)
        # An image that was sent before is in the model's slots.
        assert unloads(fake) == 0
        fake.process.report(protocol.LeftSlot("1"))
        await until(lambda: unloads(fake) == 1)
        assert told.crashes == []

    on_gpu(scene)


def test_every_state_says_what_may_follow() -> None:
    assert set(TRANSITIONS) == set(GpuState)
    # Whatever happens, the server can stop.
    assert all(GpuState.STOPPED in following for following in TRANSITIONS.values())


def test_the_states_of_a_process_from_its_start_to_its_end() -> None:
    async def scene(gpu: Gpu, fake: FakeGpu, told: Told) -> None:
        states = [gpu.state]

        def then(report: protocol.Report) -> None:
            fake.process.report(report)
            states.append(gpu.state)

        gpu.start(told)
        states.append(gpu.state)
        then(protocol.Started("cpu", "a fake", "bits"))
        slots = group()
        gpu.groups.open(slots)
        gpu.generate(slots, item("1"))
        states.append(gpu.state)
        then(protocol.Loading("a"))
        then(protocol.Loaded("a", "r", 1.0))
        then(protocol.LeftSlot("1"))
        then(protocol.Cancelled("1"))
        fake.process.exit(status=3)
        states.append(gpu.state)
        await asyncio.sleep(0)
        await gpu.stop()
        states.append(gpu.state)
        await gpu.stop()
        assert states == [
            GpuState.STOPPED,
            GpuState.STARTING,
            GpuState.READY,
            GpuState.RUNNING,
            GpuState.LOADING,
            GpuState.RUNNING,
            GpuState.READY,
            GpuState.READY,
            GpuState.RESTARTING,
            GpuState.STOPPED,
        ]
        assert len(told.reports) == 5
        (crash,) = told.crashes
        assert (crash.happened, crash.message, crash.image_ids) == (
            Happened.CRASHED,
            "The GPU process ended with status 3",
            (),
        )

    on_gpu(scene)


def test_a_step_that_no_state_allows_is_an_error() -> None:
    async def scene(gpu: Gpu, fake: FakeGpu, told: Told) -> None:
        gpu.start(told)
        with pytest.raises(RuntimeError, match="is starting cannot become starting"):
            gpu.start(told)
        assert len(fake.processes) == 1
        await gpu.stop()
        assert fake.process.killed

    on_gpu(scene)


def test_a_crash_tells_what_was_in_the_process_and_leaves_nothing_there() -> None:
    async def scene(gpu: Gpu, fake: FakeGpu, told: Told) -> None:
        gpu.start(told)
        fake.process.start()
        fake.process.report(protocol.Loaded("a", "r", 1.0))
        slots = group()
        gpu.groups.open(slots)
        for image_id in ("written", "in-slot"):
            gpu.generate(slots, item(image_id))
        fake.process.report(protocol.LeftSlot("written"))
        fake.process.exit()
        (crash,) = told.crashes
        assert crash.image_ids == ("written", "in-slot")
        assert crash.suspects == {"in-slot"}
        assert crash.message == "The GPU process ended with signal 9 (SIGKILL)"
        assert (gpu.started, gpu.loaded, list(gpu.groups), gpu.in_flight) == (None, {}, [], {})
        await gpu.stop()

    on_gpu(scene)


def test_an_image_that_is_written_is_no_sign_of_life_of_a_load() -> None:
    async def scene(gpu: Gpu, fake: FakeGpu, told: Told) -> None:
        gpu.start(told)
        fake.process.start()
        slots = group()
        gpu.groups.open(slots)
        gpu.generate(slots, item("1"))
        fake.process.report(protocol.LeftSlot("1"))
        fake.process.report(protocol.Loading("b"))
        fake.process.report(protocol.Failed("1", FailureReason.IMAGE_NOT_WRITTEN, "the disk is full", Fault.MACHINE))
        assert gpu.state is GpuState.LOADING
        await gpu.stop()

    on_gpu(scene)


def test_a_model_that_is_refused_while_another_loads_leaves_that_load_its_time() -> None:
    async def scene(gpu: Gpu, fake: FakeGpu, told: Told) -> None:
        gpu.start(told)
        fake.process.start()
        for model, image_id in (("a", "1"), ("b", "2")):
            card = ModelCard.from_flat(name=model, licence="made for tests", tiers=("0.5K",), steps=4, guidance=1.0)
            slots = SlotGroup(BatchKey(model, 512, 512, 4, 1.0), card, 1)
            gpu.groups.open(slots)
            gpu.generate(slots, item(image_id))
        fake.process.report(protocol.Loading("a"))
        fake.process.report(protocol.Refused("b", "other weights", ("2",)))
        assert (gpu.state, gpu.loading) == (GpuState.LOADING, "a")
        fake.process.report(protocol.Loaded("a", "r", 1.0))
        assert gpu.state is GpuState.RUNNING
        await gpu.stop()

    on_gpu(scene)


def test_the_pause_before_another_start_is_doubled_up_to_the_longest() -> None:
    bounds = Bounds(restart_s=1.0, restart_most_s=60.0)
    assert [restart_pause(crashes, bounds) for crashes in range(1, 10)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert restart_pause(10_000, bounds) == 60
