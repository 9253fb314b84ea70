"""Several GPUs on one queue, with fake processes: which GPU gets an image, and what becomes of a GPU that is missing."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from pipelines import protocol
from pipelines.failure_reason import FailureReason, Fault
from server.event_hub import EventHub
from server.jobs import JobStatus
from server.scheduler.devices import AUTO, Device
from server.scheduler.gpu_state import GpuState
from server.scheduler.scheduler import Scheduler
from server.workflows.registry import result_of
from tests.support.box import QUICK, Box, lose_process, play, until
from tests.support.fake_process import FakeProcess


def loads(process: FakeProcess) -> list[str]:
    """Return the models that the process was told to load, or to load for an image."""
    return [order.card.name for order in process.orders if isinstance(order, protocol.Load | protocol.Generate)]


def has(process: FakeProcess, model: str, seconds: float = 10.0) -> None:
    process.report(protocol.Loaded(model, "revision", seconds))


def measured(process: FakeProcess, model: str, seconds_per_step: float) -> None:
    """Report what a step of one image costs."""
    process.report(protocol.Measured(model, "r", 512, 512, 1, seconds_per_step, 2**30))


def test_an_image_goes_where_its_model_is(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        has(first, "a")
        has(second, "b")
        await box.submit(image_model="b")
        assert not first.ids
        (image_id,) = second.ids
        # The second GPU is busy, and the first one leaves `b` to it all the same.
        for _ in range(3):
            await box.submit(image_model="b")
        assert not first.ids
        second.generate(image_id)

    play(Box(tmp_path, gpus=2), scene)


def test_the_idlest_of_those_that_have_the_model_takes_the_image(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        for gpu in box.gpus:
            has(gpu.process, "a")
        for _ in range(4):
            await box.submit()
        assert [len(gpu.process.ids) for gpu in box.gpus] == [2, 2]

    play(Box(tmp_path, gpus=2, max_batch=4), scene)


def test_a_backlog_that_is_worth_a_load_is_shared(tmp_path: Path) -> None:
    """Check this with a load of 10 s and images of 3 s: with seven of them waiting, the second GPU loads the model too."""

    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        has(first, "a")
        has(second, "b")
        await box.submit()
        measured(first, "a", 1.0)
        for _ in range(1 + 6):
            await box.submit()
        assert not second.ids
        await box.submit()
        assert {order.card.name for order in second.ordered} == {"a"}
        # The model is on its way there, and each GPU gets one image to run and one ahead.
        assert len(first.ids + second.ids) == 2 + 2

    play(Box(tmp_path, gpus=2), scene)


def test_a_model_whose_only_gpu_is_gone_is_loaded_on_another(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        has(first, "a")
        has(second, "b")
        job_id = await box.submit(on_technical_failure="retry")
        assert first.ids
        first.exit()
        await until(lambda: bool(second.ids))
        second.generate(second.ids[0])
        assert await box.ends(job_id) is JobStatus.SUCCESS

    play(Box(tmp_path, gpus=2), scene)


def test_pinned_models_are_loaded_where_they_are_pinned(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        box.edit_models("[models.b]", '[models.b]\npinned = ["fake:1"]')
        pins = [[order.models for order in p.orders if isinstance(order, protocol.Pin)][-1] for p in (first, second)]
        assert pins == [(), ("b",)]
        assert loads(first)[-1] == "a"
        assert loads(second)[-1] == "b"

    play(Box(tmp_path, gpus=2), scene)


def test_a_device_that_cannot_start_is_left_out_and_tried_again(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = box.gpus
        second.process.report(protocol.CannotStart("NoDevice: the device cuda:1 is a GPU, and torch sees 1 of them"))
        second.process.exit(1)
        has(first.process, "a")
        found = box.scheduler.readiness()
        assert found.reason is None
        assert [device.is_up for device in found.devices] == [True, False]
        assert found.devices[1].reason == "NoDevice: the device cuda:1 is a GPU, and torch sees 1 of them"
        job_id = await box.submit()
        first.process.generate(first.process.ids[0])
        assert await box.ends(job_id) is JobStatus.SUCCESS
        await until(lambda: len(second.processes) == 2)
        second.process.start()
        up = box.scheduler.readiness().devices[1]
        assert (up.state, up.reason, up.device_name) == (GpuState.READY, None, "a fake")

    play(Box(tmp_path, gpus=2), scene)


def test_every_gpu_of_the_box_is_taken_once_a_process_has_counted_them(tmp_path: Path) -> None:
    async def scene() -> None:
        box = Box(tmp_path, gpus=3)
        first, *others = (
            Device(name=name, start=gpu, log="a log")
            for name, gpu in zip((AUTO, "cuda:1", "cuda:2"), box.gpus, strict=True)
        )
        all_of_them = msgspec.structs.replace(first, others=lambda gpus: others[: gpus - 1])
        scheduler = Scheduler(box.settings, box.models, box.database, EventHub(), result_of, [all_of_them], QUICK)
        await scheduler.start()
        assert [device.name for device in scheduler.readiness().devices] == [AUTO]
        box.gpus[0].process.report(protocol.DevicesFound(3))
        # The first process reports this again after a crash.
        box.gpus[0].process.report(protocol.DevicesFound(3))
        assert [device.name for device in scheduler.readiness().devices] == ["cuda:0", "cuda:1", "cuda:2"]
        assert [len(gpu.processes) for gpu in box.gpus] == [1, 1, 1]
        await scheduler.stop()
        box.connection.close()
        box.database.close()

    asyncio.run(scene())


def test_devices_of_one_name_that_compute_other_bits_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(box: Box) -> None:
        crowd = [gpu.process for gpu in box.gpus]
        crowd[1].report(protocol.Started("cpu", "a fake", "other bits"))
        crowd[2].report(protocol.Started("cpu", "another fake", "other bits"))
        differing = {device.name: device.differs_from for device in box.scheduler.readiness().devices}
        assert differing == {"fake:0": ["fake:1"], "fake:1": ["fake:0"], "fake:2": []}
        assert "fake:1 and fake:0 are both a fake, and compute other bits" in caplog.text

    play(Box(tmp_path, gpus=3), scene)


def test_what_a_device_has_and_does_is_told(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        process = box.process
        process.report(protocol.MemoryUsed(8 * 2**30, 3 * 2**30))
        has(process, "a")
        job_id = await box.submit()
        (device,) = box.scheduler.readiness().devices
        assert (device.name, device.state, device.models) == ("fake:0", GpuState.RUNNING, ["a"])
        assert (device.slots, device.images_in_flight, device.images_generated) == (1, 1, 0)
        assert (device.memory_used_bytes, device.memory_total_bytes) == (3 * 2**30, 8 * 2**30)
        process.generate(process.ids[0])
        assert await box.ends(job_id) is JobStatus.SUCCESS
        (device,) = box.scheduler.readiness().devices
        assert (device.state, device.images_in_flight, device.images_generated) == (GpuState.READY, 0, 1)

    play(Box(tmp_path), scene)


def test_a_device_that_leaves_costs_nobody_an_attempt(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        has(first, "a")
        has(second, "b")
        job_id = await box.submit()
        assert first.ids == [f"{job_id}-0"]
        assert next(iter(box.scheduler.gpus)).name == "fake:0"
        await box.scheduler.gpus.remove("fake:0", "its box has left the cluster")
        await box.scheduler.gpus.remove("fake:0", "a second time is no error")
        assert first.killed
        assert second.ids == [f"{job_id}-0"]
        assert not second.ordered[0].isolated
        second.generate(f"{job_id}-0")
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert box.attempts(job_id) == 1
        assert [device.name for device in box.scheduler.readiness().devices] == ["fake:1"]

    play(Box(tmp_path, gpus=2), scene)


def test_a_device_whose_process_cannot_be_ended_gives_up_its_images_all_the_same(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        has(first, "a")
        has(second, "b")
        job_id = await box.submit()
        first.cannot_be_killed = True
        with pytest.raises(OSError, match="not to be reached"):
            await box.scheduler.gpus.remove("fake:0", "its box has left the cluster")
        second.generate(f"{job_id}-0")
        assert await box.ends(job_id) is JobStatus.SUCCESS

    play(Box(tmp_path, gpus=2), scene)


def test_a_box_that_is_gone_puts_the_blame_on_no_image(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_ids = [await box.submit(seed=seed) for seed in range(2)]
        box.process.report(protocol.DeviceLost("studio-2 has left the cluster"))
        box.process.exit(1)
        assert "studio-2 has left the cluster" in str(box.scheduler.readiness().devices[0].reason)
        await until(lambda: len(box.gpus[0].processes) == 2)
        box.up()
        assert [order.isolated for order in box.process.ordered] == [False, False]
        for job_id in job_ids:
            box.process.generate(f"{job_id}-0")
            assert await box.ends(job_id) is JobStatus.SUCCESS
            assert box.attempts(job_id) == 1

    play(Box(tmp_path, max_batch=2, reproducible="true"), scene)


def test_a_model_that_one_device_refuses_runs_on_another(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        has(first, "b")
        job_id = await box.submit()
        (order,) = first.ordered
        first.report(
            protocol.Refused("a", "on studio-2, unet/x of a is not what this server has", (order.item.image_id,))
        )
        second.generate(order.item.image_id)
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert box.attempts(job_id) == 1
        assert list(box.scheduler.readiness().devices[0].refused) == ["a"]
        again = await box.submit()
        assert second.ids[-1] == f"{again}-0"
        assert len(first.ids) == 1, "it was asked again at once"

    play(Box(tmp_path, gpus=2), scene)


def test_a_model_that_one_device_refuses_waits_for_another_that_comes_back(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = box.gpus
        has(first.process, "b")
        await lose_process(second)
        job_id = await box.submit()
        (image_id,) = first.process.ids
        first.process.report(protocol.Refused("a", "on studio-2, unet/x of a is not what this server has", (image_id,)))
        second.process.start()
        assert second.process.unanswered == [image_id]
        second.process.generate(image_id)
        assert await box.ends(job_id) is JobStatus.SUCCESS

    play(Box(tmp_path, gpus=2), scene)


def test_a_model_that_every_device_refuses_fails(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        for _ in range(2):
            job_id = await box.submit()
            image_id = box.process.ids[-1]
            box.process.report(
                protocol.Refused("a", "on studio-2, unet/x of a is not what this server has", (image_id,))
            )
            await box.fails(job_id, "model_load_failed")
            assert "unet/x" in box.last(job_id).message

    play(Box(tmp_path), scene)


def test_a_model_that_its_only_device_refuses_once_loaded_runs_on_another(tmp_path: Path) -> None:
    """Check this as with a LoRA whose file differs on the box that has the model in memory."""

    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        has(first, "a")
        has(second, "b")
        job_id = await box.submit()
        (image_id,) = first.unanswered
        first.report(protocol.Refused("a", "on studio-2, grain of a is not what this server has", (image_id,)))
        assert len(first.ids) == 1, "it was asked again at once"
        second.generate(image_id)
        assert await box.ends(job_id) is JobStatus.SUCCESS

    play(Box(tmp_path, gpus=2), scene)


# ── images that are too large for a device ───────────────────────────────────────────────────────────────────────────


def out_of_memory(process: FakeProcess, image_id: str) -> None:
    process.report(protocol.Failed(image_id, FailureReason.OUT_OF_MEMORY, "Out of memory at 1 × 1", Fault.MACHINE))


def test_an_image_that_is_too_large_for_one_device_runs_on_another(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        small, large = (gpu.process for gpu in box.gpus)
        has(small, "a")
        has(large, "b")
        job_id = await box.submit(resolution="1K")
        (image_id,) = small.unanswered
        out_of_memory(small, image_id)
        assert large.unanswered == [image_id]
        large.generate(image_id)
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert box.attempts(job_id) == 1
        (told,) = box.extras(job_id, "retrying")
        assert told["reason"] == "out_of_memory"
        has(large, "a")
        # Images of this size are left to the large device now, and smaller ones still run on both.
        for _ in range(2):
            await box.submit(resolution="1K")
        await box.submit(resolution="0.5K")
        assert [order.width for order in small.ordered] == [1024, 512]
        assert [order.width for order in large.ordered] == [1024, 1024, 1024]

    play(Box(tmp_path, gpus=2, tiers=["0.5K", "1K"]), scene)


def test_images_that_are_too_large_leave_one_slot_group_for_another_device(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        small, large = (gpu.process for gpu in box.gpus)
        has(small, "a")
        has(large, "b")
        job_id = await box.submit(n=3)
        assert len(small.unanswered) == 2
        while small.unanswered:
            out_of_memory(small, small.unanswered[0])
        assert len(small.ids) == 2, "an image entered the open slots again"
        while large.unanswered:
            large.generate(large.unanswered[0])
        assert await box.ends(job_id) is JobStatus.SUCCESS

    play(Box(tmp_path, gpus=2), scene)


@pytest.mark.parametrize("mode", ["fail", "retry"])
def test_an_image_that_is_too_large_for_every_device_fails(tmp_path: Path, mode: str) -> None:
    async def scene(box: Box) -> None:
        for gpu in box.gpus:
            has(gpu.process, "a")
        for tries in ({"fail": 2, "retry": 4}[mode], {"fail": 1, "retry": 3}[mode]):
            before = sum(len(gpu.process.ids) for gpu in box.gpus)
            job_id = await box.submit(on_technical_failure=mode)
            while not box.status(job_id).ended:
                for gpu in box.gpus:
                    for image_id in gpu.process.unanswered:
                        out_of_memory(gpu.process, image_id)
                await asyncio.sleep(0.005)
            await box.fails(job_id, "out_of_memory")
            assert box.last(job_id).message == "Out of memory at 1 × 1"
            assert sum(len(gpu.process.ids) for gpu in box.gpus) - before == tries

    play(Box(tmp_path, gpus=2), scene)


def test_an_image_that_is_too_large_waits_for_a_device_that_comes_back(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        small, large = box.gpus
        has(small.process, "a")
        await lose_process(large)
        job_id = await box.submit()
        out_of_memory(small.process, f"{job_id}-0")
        assert small.process.unanswered == []
        large.process.start()
        large.process.generate(f"{job_id}-0")
        assert await box.ends(job_id) is JobStatus.SUCCESS

    play(Box(tmp_path, gpus=2), scene)
