"""A model that cannot be loaded is tried again after pauses, once for all that wait for it, and given up by a stated rule."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from pipelines import protocol
from pipelines.failure_reason import FailureReason
from server.jobs import JobStatus
from tests.support.box import QUICK, Box, lose_process, play, until

BOUNDS = msgspec.structs.replace(QUICK, load_pauses_s=(0.1, 0.2))


def fails_to_load(box: Box) -> None:
    """Let the process fail to load `b`, and drop all images that it was sent, which are all of `b`."""
    box.process.report(protocol.Loading("b"))
    waiting = tuple(box.process.unanswered)
    box.process.report(protocol.LoadFailed("b", FailureReason.MODEL_LOAD_FAILED, "b is damaged", waiting))


def test_a_model_that_cannot_be_loaded_is_not_tried_for_each_of_its_jobs(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = [await box.submit(image_model="b") for _ in range(2)]
        for tries in (1, 2):
            assert len(box.process.ordered) == tries * 2
            fails_to_load(box)
            assert len(box.process.ordered) == tries * 2, "it was tried again without a pause"
            assert box.scheduler.loads.errors == {"b": "b is damaged"}
            await until(lambda tries=tries: len(box.process.ordered) > tries * 2)  # type: ignore[misc]
        fails_to_load(box)
        for job_id in (first, second):
            await box.fails(job_id, "model_load_failed")
            assert box.last(job_id).message == "b is damaged"
            assert [extra["reason"] for extra in box.extras(job_id, "retrying")] == ["model_load_failed"] * 2
            assert box.attempts(job_id) <= 1
        # A job that comes now waits for the next try, and fails with it.
        third = await box.submit(image_model="b")
        await until(lambda: box.process.unanswered != [])
        fails_to_load(box)
        await box.fails(third, "model_load_failed")

    play(Box(tmp_path, bounds=BOUNDS, max_batch=2, reproducible="true"), scene)


def test_a_job_of_a_model_that_is_held_is_not_promised_sooner_than_the_next_try(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(image_model="b")
        fails_to_load(box)
        waits = box.scheduler.seconds_until(job_id)
        assert waits is not None and waits > 1000
        generations = box.job(image_model="b").plan.generations
        assert box.scheduler.estimate(box.client, 0, generations)[1] > 1000
        assert box.scheduler.estimate(box.client, 0, box.job().plan.generations)[1] < 1000

    play(Box(tmp_path, bounds=msgspec.structs.replace(QUICK, load_pauses_s=(2000.0,))), scene)


def test_a_load_that_ends_the_process_is_a_try_too(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        jobs = [await box.submit(image_model="b") for _ in range(3)]
        for crash in range(3):
            await until(lambda: box.process.unanswered != [])
            box.process.report(protocol.Loading("b"))
            if crash == 0:
                await until(lambda: box.process.killed)
            await box.crash()
            if crash < 2:
                assert box.process.unanswered == [], "it was tried again without a pause"
        for job_id in jobs:
            await box.fails(job_id, "worker_crashed")
            assert box.extras(job_id, "retrying")[0]["reason"] == "load_timeout"
            assert box.attempts(job_id) <= 1
        assert len(box.gpus[0].processes) == 4

    play(Box(tmp_path, bounds=BOUNDS, load_timeout_s=0.1), scene)


def test_a_load_that_was_done_too_late_is_a_failed_try(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(image_model="b")
        box.process.report(protocol.Loading("b"))
        await until(lambda: box.process.killed)
        # This report was on its way when the process was ended.
        box.process.report(protocol.Loaded("b", "revision", 0.1))
        await box.crash()
        await until(lambda: f"{job_id}-0" in box.process.unanswered)
        assert not box.status(job_id).ended

    play(Box(tmp_path, bounds=BOUNDS, load_timeout_s=0.1), scene)


def test_a_new_process_has_the_default_model_at_hand_while_another_one_is_in_its_pause(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        box.process.report(protocol.Loaded("a", "revision", 0.1))
        await box.submit(image_model="b")
        box.process.report(protocol.Loading("b"))
        await box.crash()
        assert box.process.loads == ["a"]

    play(Box(tmp_path, bounds=msgspec.structs.replace(QUICK, load_pauses_s=(60.0,))), scene)


@pytest.mark.parametrize("crashes", [False, True])
def test_a_gpu_that_cannot_load_a_model_leaves_it_to_one_that_can(tmp_path: Path, crashes: bool) -> None:
    async def scene(box: Box) -> None:
        for gpu in box.gpus:
            gpu.process.report(protocol.Loaded("a", "revision", 0.1))
        bad, good = box.gpus
        job_id = await box.submit(image_model="b")
        assert bad.process.unanswered == [f"{job_id}-0"]
        bad.process.report(protocol.Loading("b"))
        if crashes:
            await box.crash()
        else:
            bad.process.report(
                protocol.LoadFailed("b", FailureReason.OUT_OF_MEMORY, "b is too large", (f"{job_id}-0",))
            )
        assert good.process.unanswered == [f"{job_id}-0"], "it waits, though another GPU may load its model"
        good.process.report(protocol.Loaded("b", "revision", 0.1))
        good.process.generate(f"{job_id}-0")
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert box.scheduler.loads.errors == {}

    play(Box(tmp_path, gpus=2, bounds=BOUNDS), scene)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_model_that_one_gpu_cannot_load_waits_for_the_one_that_comes_back(tmp_path: Path, comes_back: bool) -> None:
    async def scene(box: Box) -> None:
        small, large = box.gpus
        small.process.report(protocol.Loaded("a", "revision", 0.1))
        large.process.report(protocol.Loaded("b", "revision", 0.1))
        job_id = await box.submit(image_model="b", on_technical_failure="retry")
        assert large.process.unanswered == [f"{job_id}-0"]
        await lose_process(large)

        async def small_fails() -> None:
            """Fail whatever the small one is asked for, until the job has ended."""
            while not box.status(job_id).ended:
                if images := tuple(small.process.unanswered):
                    small.process.report(
                        protocol.LoadFailed("b", FailureReason.OUT_OF_MEMORY, "b is too large", images)
                    )
                await asyncio.sleep(0.005)

        failing = asyncio.create_task(small_fails())
        # Longer than the pauses of all tries.
        await asyncio.sleep(0.5)
        assert len(small.process.ids) == 1, "it was tried again, though the large one is on its way"
        if comes_back:
            large.process.start()
            large.process.generate(f"{job_id}-0")
            assert await box.ends(job_id) is JobStatus.SUCCESS
        else:
            for _ in range(BOUNDS.crashes - 1):
                await lose_process(large)
            await box.fails(job_id, "out_of_memory")
        await failing

    play(Box(tmp_path, gpus=2, bounds=BOUNDS), scene)


def test_a_model_that_one_gpu_cannot_load_and_the_other_may_not_run_is_given_up(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        for gpu in box.gpus:
            gpu.process.report(protocol.Loaded("a", "revision", 0.1))
        bad, other = (gpu.process for gpu in box.gpus)
        job_id = await box.submit(image_model="b")
        while not box.status(job_id).ended:
            await until(lambda: bool(bad.unanswered or other.unanswered or box.status(job_id).ended))
            if images := tuple(bad.unanswered):
                bad.report(protocol.LoadFailed("b", FailureReason.OUT_OF_MEMORY, "b is too large", images))
            if images := tuple(other.unanswered):
                other.report(protocol.Refused("b", "unet/x of b is not what this server has", images))
        await box.fails(job_id, "out_of_memory")
        # The first failure left the model to the other device; the next ones are the tries that count.
        assert len(bad.ids) == BOUNDS.load_tries + 1
        assert len(other.ids) == 1, "it was asked again before its time"

    play(Box(tmp_path, gpus=2, bounds=BOUNDS), scene)


def test_a_default_model_that_was_given_up_is_left_alone_until_it_is_wanted(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        failed = protocol.LoadFailed("a", FailureReason.MODEL_LOAD_FAILED, "a is damaged", ())
        for tries in (1, 2):
            await until(lambda tries=tries: len(box.process.loads) == tries)  # type: ignore[misc]
            box.process.report(failed)
        await asyncio.sleep(0.3)
        assert box.process.loads == ["a"] * 2
        job_id = await box.submit()
        box.process.generate(f"{job_id}-0")
        assert await box.ends(job_id) is JobStatus.SUCCESS

    play(Box(tmp_path, bounds=msgspec.structs.replace(BOUNDS, load_tries=2)), scene)


def test_a_job_of_several_images_is_given_up_once(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        # There is one slot, and one image is sent ahead: the third image of the job waits in the server.
        job_id = await box.submit(n=3, image_model="b")
        assert len(box.process.unanswered) == 2
        fails_to_load(box)
        await box.fails(job_id, "model_load_failed")
        assert box.last(job_id).extra["refunded"] == 15

    play(Box(tmp_path, bounds=msgspec.structs.replace(BOUNDS, load_tries=1)), scene)


def test_gpus_that_fail_at_the_same_time_count_once(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        box.gpus[1].process.start()
        job_id = await box.submit(image_model="b")
        for gpu in box.gpus:
            gpu.process.report(protocol.Loading("b"))
            waiting = tuple(gpu.process.unanswered)
            gpu.process.report(protocol.LoadFailed("b", FailureReason.MODEL_LOAD_FAILED, "b is damaged", waiting))
        await until(lambda: any(f"{job_id}-0" in gpu.process.unanswered for gpu in box.gpus))
        assert box.status(job_id) is not JobStatus.FAILURE

    play(Box(tmp_path, gpus=2, bounds=msgspec.structs.replace(BOUNDS, load_tries=2)), scene)


def test_other_models_serve_during_the_pauses_and_a_good_try_ends_them(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        bad = await box.submit(image_model="b")
        fails_to_load(box)
        good = await box.submit(image_model="a")
        box.process.generate(f"{good}-0")
        assert await box.ends(good) is JobStatus.SUCCESS
        await until(lambda: f"{bad}-0" in box.process.unanswered)
        box.process.report(protocol.Loaded("b", "revision", 0.1))
        assert box.scheduler.loads.errors == {}
        box.process.generate(f"{bad}-0")
        assert await box.ends(bad) is JobStatus.SUCCESS
        assert box.attempts(bad) == 1

    play(Box(tmp_path, bounds=BOUNDS), scene)


def test_an_edit_of_models_toml_ends_a_pause(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        await box.submit(image_model="b")
        fails_to_load(box)
        ordered = len(box.process.ordered)
        box.edit_models("steps = 3", "steps = 4")
        assert len(box.process.ordered) == ordered + 1

    play(Box(tmp_path, bounds=msgspec.structs.replace(QUICK, load_pauses_s=(60.0,))), scene)


def test_a_cancelled_job_does_not_wait_for_a_pause(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(image_model="b")
        fails_to_load(box)
        assert box.scheduler.cancel(job_id)
        await box.fails(job_id, "cancelled")

    play(Box(tmp_path, bounds=msgspec.structs.replace(QUICK, load_pauses_s=(60.0,))), scene)
