"""The fate of jobs, on a ledger on disk, if GPU processes do what no real one can be made to do in time."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pipelines import protocol
from pipelines.failure_reason import FailureReason, Fault
from pipelines.model_card import cost_digest
from pipelines.protocol import Stage
from server.jobs import JobStatus
from server.ledger import batch_costs
from server.previews import preview_file
from server.scheduler.gpu_state import GpuState
from tests.support.box import QUICK, Box, lose_process, play, until


def failed(
    image_id: str, reason: FailureReason = FailureReason.PIPELINE_ERROR, fault: Fault = Fault.MACHINE
) -> protocol.Failed:
    return protocol.Failed(image_id, reason, "it broke", fault)


def batch_failed(*image_ids: str) -> protocol.BatchFailed:
    return protocol.BatchFailed(FailureReason.PIPELINE_ERROR, "it broke", image_ids, "a")


# ── one image a job ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_from_its_first_order_to_its_end(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(seed=7)
        (order,) = box.process.ordered
        assert (order.item.seed, order.batch_size, order.isolated) == (7, 1, False)
        image_id = order.item.image_id
        box.process.report(protocol.StageReached((image_id,), Stage.LOADING))
        box.process.report(protocol.Steps((protocol.Step(image_id, 1, 0.0), protocol.Step(image_id, 2, 1.0)), 3))
        assert box.scheduler.progress(job_id) == pytest.approx(0.6)
        box.process.report(protocol.StageReached((image_id,), Stage.DECODING))
        assert box.scheduler.progress(job_id) == 0.9
        box.process.generate(image_id)
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert [event.message for event in box.events(job_id)] == [
            "Waiting for the GPU",
            "Loading a",
            "Step 1 of 3",
            "Step 2 of 3",
            "Decoding",
            "The background is in the catalogue",
        ]
        assert box.extras(job_id, "denoising") == [{"step": 1, "steps": 3}, {"step": 2, "steps": 3}]
        assert [event.created_at for event in box.events(job_id) if event.stage == "denoising"] == [
            "1970-01-01T00:00:00.000000Z",
            "1970-01-01T00:00:01.000000Z",
        ]
        assert box.files() == [f"{job_id[-2:]}/{job_id}.png"]
        assert box.scheduler.progress(job_id) == 0.0, "the job is still in the scheduler"

    play(Box(tmp_path), scene)


def test_an_image_that_is_of_no_use_is_tried_with_other_seeds_as_often_as_allowed(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(seed=2**53 - 1, on_technical_failure="retry")
        for _ in range(3):
            image_id = box.process.ids[-1]
            box.process.report(protocol.LeftSlot(image_id))
            box.process.report(failed(image_id, FailureReason.BLACK_IMAGE, Fault.IMAGE))
        await box.fails(job_id, "black_image")
        assert [order.item.seed for order in box.process.ordered] == [2**53 - 1, 0, 1]
        assert [extra["seed"] for extra in box.extras(job_id, "retrying")] == [0, 1]
        assert (box.last(job_id).extra["attempts"], box.attempts(job_id)) == (3, 3)

    play(Box(tmp_path), scene)


def test_what_the_machine_broke_is_tried_with_the_same_seed(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(seed=1, on_technical_failure="retry")
        box.process.report(failed(box.process.ids[0]))
        box.process.generate(box.process.ids[1])
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert [order.item.seed for order in box.process.ordered] == [1, 1]
        assert box.results(job_id)[0]["attempts"] == 2

    play(Box(tmp_path), scene)


def test_a_job_that_fails_leaves_no_half_written_file(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        box.up()
        job_id = await box.submit()
        partial = Path(box.process.ordered[0].item.path).with_suffix(".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(b"half of an image")
        await box.crash()
        await box.fails(job_id, "worker_crashed")
        await until(lambda: box.files() == [])

    play(Box(tmp_path), scene)


def test_a_file_that_cannot_be_removed_holds_up_nobody(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(n=2)
        first, second = box.process.ids
        stuck, free = (preview_file(box.settings.previews, image_id) for image_id in (first, second))
        # A folder is a file that cannot be unlinked, whoever runs this.
        stuck.mkdir(parents=True)
        free.touch()
        box.process.generate(first)
        assert box.files()
        # All that was told of the job before its end is told now.
        await box.database.write(lambda _: None)
        with box.hub.subscribed(job_id) as news:
            box.process.report(failed(second))
            await until(news.is_set)
        await box.fails(job_id, "pipeline_error")
        await until(lambda: box.files() == [])
        assert not free.exists()

    play(Box(tmp_path, max_batch=2), scene)


def test_of_a_batch_that_failed_each_image_answers_for_itself(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        good, bad = await box.submit(seed=1), await box.submit(seed=2)
        box.process.report(batch_failed(*box.process.ids))
        assert [(order.batch_size, order.isolated) for order in box.process.ordered[2:]] == [(2, True), (2, True)]
        box.process.generate(f"{good}-0")
        box.process.report(batch_failed(f"{bad}-0"))
        assert await box.ends(good) is JobStatus.SUCCESS
        await box.fails(bad, "pipeline_error")
        # The run that the two shared counts for neither.
        assert (box.attempts(good), box.attempts(bad)) == (1, 1)

    play(Box(tmp_path, max_batch=2, reproducible="true"), scene)


def test_a_cancelled_image_ends_as_cancelled_whatever_becomes_of_it(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        endings: list[Callable[[str], None]] = [
            lambda image_id: box.process.report(protocol.Cancelled(image_id)),
            lambda image_id: box.process.report(failed(image_id, fault=Fault.IMAGE)),
            box.process.generate,
        ]
        for end in endings:
            job_id = await box.submit(on_technical_failure="retry")
            assert box.scheduler.cancel(job_id)
            assert box.scheduler.cancel(job_id), "a second cancel is no error while the first is under way"
            assert box.process.cancelled[-1] == f"{job_id}-0"
            assert box.process.cancelled.count(f"{job_id}-0") == 1
            end(f"{job_id}-0")
            await box.fails(job_id, "cancelled")
            assert not box.scheduler.cancel(job_id)
        await until(lambda: box.files() == [])

    play(Box(tmp_path), scene)


def test_steps_that_are_told_too_late_are_passed_over(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        gone, other = await box.submit(seed=1), await box.submit(seed=2)
        box.scheduler.cancel(gone)
        box.process.report(protocol.Cancelled(f"{gone}-0"))
        steps = tuple(protocol.Step(f"{job_id}-0", 1, 0.0) for job_id in (gone, other))
        box.process.report(protocol.Steps(steps, 3))
        await box.fails(gone, "cancelled")
        assert box.extras(gone, "denoising") == []
        await until(lambda: box.extras(other, "denoising") == [{"step": 1, "steps": 3}])

    play(Box(tmp_path), scene)


def test_memory_that_ran_out_is_told_and_fewer_slots_are_counted_on(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first = await box.submit(seed=1)
        image_id = box.process.ids[0]
        box.process.report(protocol.Steps((protocol.Step(image_id, 1, 0.0),), 3))
        box.process.report(protocol.Measured("a", "r", 512, 512, 4, None, None))
        restarted = protocol.Restarted(
            (image_id,), "a", 512, 512, 2, 4, False, FailureReason.OUT_OF_MEMORY, "Out of memory with 4 slots"
        )
        box.process.report(restarted)
        assert box.scheduler.progress(first) == 0.0
        # There are two slots and one image ahead, and all are of the same group.
        others = [await box.submit(seed=seed) for seed in (2, 3, 4)]
        assert [order.batch_size for order in box.process.ordered] == [4, 2, 2]
        box.process.generate(image_id)
        assert await box.ends(first) is JobStatus.SUCCESS
        assert box.extras(first, "retrying") == [{"reason": "out_of_memory", "attempts": 1, "seed": 1}]
        for job_id in others:
            box.process.generate(f"{job_id}-0")
            assert await box.ends(job_id) is JobStatus.SUCCESS
        (cost,) = await box.database.read(batch_costs.known)
        assert (cost.batch_size, cost.seconds_per_step) == (4, None)
        await box.submit(seed=5)
        assert box.process.ordered[-1].batch_size == 2

    play(Box(tmp_path, max_batch=4, batch_shapes=[4]), scene)


def test_what_an_image_was_measured_to_take_is_told_with_later_orders(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first = await box.submit()
        assert box.process.ordered[-1].image_bytes is None
        card = box.process.ordered[-1].card
        revision = f"revision {cost_digest(card)}"
        for working in (2**30, 2**31, None):
            box.process.report(protocol.Measured("a", revision, 512, 512, 1, 0.1, 2**32, working))
        # The memory that other weights took says nothing.
        box.process.report(protocol.Measured("b", "revision other", 512, 512, 1, 0.1, 2**32, 2**30))
        box.process.generate(f"{first}-0")
        assert await box.ends(first) is JobStatus.SUCCESS
        await box.submit()
        await box.submit(image_model="b")
        assert [(order.card.name, order.image_bytes) for order in box.process.ordered[-2:]] == [
            ("a", 2**30),
            ("b", None),
        ]
        kept = await box.database.read(batch_costs.known)
        assert [(cost.key.model, cost.working_bytes) for cost in kept] == [("a", 2**30), ("b", 2**30)]

    play(Box(tmp_path), scene)


# ── crashes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_crash_is_put_down_to_the_image_in_the_slot(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        in_slot, ahead = await box.submit(), await box.submit(image_model="b")
        assert box.process.ids == [f"{in_slot}-0", f"{ahead}-0"]
        box.process.report(protocol.Loaded("b", "revision", 0.1))
        await box.crash()
        await box.fails(in_slot, "worker_crashed")
        assert box.process.ids == [f"{ahead}-0"]
        assert not box.process.ordered[0].isolated
        box.process.generate(f"{ahead}-0")
        assert await box.ends(ahead) is JobStatus.SUCCESS
        assert box.results(ahead)[0]["attempts"] == 1, "the run that was interrupted counts"

    play(Box(tmp_path), scene)


def test_a_load_that_crashes_is_not_put_down_to_another_models_image(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        box.process.report(protocol.Loading("a"))
        job_id = await box.submit(image_model="b")
        await box.crash()
        assert box.process.ids == [f"{job_id}-0"]
        assert not box.process.ordered[0].isolated

    play(Box(tmp_path), scene)


def test_a_model_whose_reading_ahead_ends_the_process_fails_no_other_models_image(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        good, bad = await box.submit(), await box.submit(image_model="b")
        await box.crash()
        # Both may have caused it, so each runs isolated, and the other model is not even prefetched meanwhile.
        assert box.process.ids == [f"{good}-0"]
        assert box.process.ordered[0].isolated
        box.process.generate(f"{good}-0")
        assert await box.ends(good) is JobStatus.SUCCESS
        assert box.process.unanswered == [f"{bad}-0"]

    play(Box(tmp_path), scene)


def test_an_image_that_is_to_run_alone_is_not_put_down_to_a_crash_of_what_runs_before_it(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        together = [await box.submit(image_model="b", seed=seed) for seed in (1, 2)]
        box.process.report(protocol.Loaded("b", "revision", 0.1))
        await lose_process(box.gpus[0])
        bad = await box.submit(image_model="a")
        box.scheduler.control.move_to_front(bad)
        box.up()
        # The first of the two is sent ahead, and its model is prefetched while the other model's image runs.
        assert box.process.ids == [f"{bad}-0", f"{together[0]}-0"]
        box.process.report(protocol.Loaded("a", "revision", 0.1))
        await box.crash()
        assert box.process.ids == [f"{bad}-0"]
        await box.crash()
        await box.fails(bad, "worker_crashed")
        for job_id in together:
            box.process.generate(f"{job_id}-0")
            assert await box.ends(job_id) is JobStatus.SUCCESS

    play(Box(tmp_path, max_batch=2, reproducible="true"), scene)


def test_what_runs_again_goes_in_its_old_order(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_ids = [await box.submit(seed=seed) for seed in range(4)]
        assert box.process.ids == [f"{job_id}-0" for job_id in job_ids[:3]]
        box.process.report(protocol.Loading("b"))
        await box.crash()
        assert box.process.ids == [f"{job_id}-0" for job_id in job_ids[:3]]

    play(Box(tmp_path, max_batch=2, reproducible="true"), scene)


def test_an_image_that_is_there_at_every_crash_ends_in_time(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        written = await box.submit(seed=0)
        for seed in range(1, 4):
            assert not box.status(written).ended
            in_slot = await box.submit(seed=seed, image_model="b")
            assert box.process.ids == [f"{written}-0", f"{in_slot}-0"]
            box.process.report(protocol.LeftSlot(f"{written}-0"))
            await box.crash()
            await box.fails(in_slot, "worker_crashed")
        await box.fails(written, "worker_crashed")

    play(Box(tmp_path, bounds=msgspec.structs.replace(QUICK, crashes=3)), scene)


def test_a_process_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit()
        box.gpus[0].refuses = True
        box.process.exit()
        await until(lambda: next(iter(box.scheduler.gpus)).crashes > 3)
        assert "ended 4 times in a row (the operating system refused" in str(box.scheduler.readiness().reason)
        box.gpus[0].refuses = False
        await until(lambda: box.scheduler.readiness().state is GpuState.STARTING)
        box.up()
        assert str(box.scheduler.readiness().reason).startswith("no model has been loaded yet; ")
        box.process.report(protocol.Loaded("a", "r", 0.0))
        assert box.scheduler.readiness().reason is None
        await box.fails(job_id, "worker_crashed")

    play(Box(tmp_path), scene)


def test_a_box_whose_models_were_unloaded_is_ready(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        box.process.report(protocol.Loaded("a", "r", 0.0))
        assert (box.scheduler.readiness().reason, box.scheduler.readiness().note) == (None, None)
        box.process.report(protocol.Evicted("a"))
        assert box.scheduler.readiness().reason is None
        assert str(box.scheduler.readiness().note).startswith("no model is in memory; the next job loads")
        box.process.report(protocol.Loading("b"))
        assert (box.scheduler.readiness().reason, box.scheduler.readiness().note) == (None, "b is being loaded")
        # Another process may not be able to load it again.
        await box.crash()
        assert str(box.scheduler.readiness().reason).startswith("no model has been loaded yet; ")

    play(Box(tmp_path), scene)


def test_a_process_that_cannot_be_followed_is_replaced(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit()
        box.gpus[0].refuses_threads = True
        box.process.exit()
        await until(lambda: next(iter(box.scheduler.gpus)).crashes > 3)
        box.gpus[0].refuses_threads = False
        await until(lambda: box.scheduler.readiness().state is GpuState.STARTING)
        box.up()
        assert str(box.scheduler.readiness().reason).startswith("no model has been loaded yet; ")
        await box.fails(job_id, "worker_crashed")

    play(Box(tmp_path), scene)


def test_reports_of_a_process_that_is_gone_are_not_heard(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        gone = box.process
        await box.crash()
        gone.report(protocol.Loaded("b", "r", 0.0))
        gone.exit()
        assert box.scheduler.readiness().loaded == []
        assert len(box.gpus[0].processes) == 2

    play(Box(tmp_path), scene)


# ── time limits ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_start_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        box.process.exit()
        await until(lambda: len(box.gpus[0].processes) == 2)
        await until(lambda: box.process.killed)

    play(Box(tmp_path, bounds=msgspec.structs.replace(QUICK, start_s=0.05)), scene)


def test_a_step_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit()
        await until(lambda: box.process.killed)
        await box.crash()
        await box.fails(job_id, "step_timeout")
        assert "a step took longer than 0.1 s" in box.last(job_id).message.lower()

    play(Box(tmp_path, step_timeout_s=0.1), scene)


def test_an_image_that_is_never_written_answers_for_itself(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        written, in_slot = await box.submit(seed=1), await box.submit(seed=2)
        box.process.report(protocol.LeftSlot(f"{written}-0"))
        await until(lambda: box.process.killed)
        await box.crash()
        await box.fails(written, "write_timeout")
        assert box.process.ids == [f"{in_slot}-0"]
        assert not box.process.ordered[0].isolated

    play(Box(tmp_path, bounds=msgspec.structs.replace(QUICK, write_s=0.1)), scene)


def test_an_image_that_is_never_written_is_not_put_down_to_a_load_beside_it(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        written = await box.submit()
        box.process.report(protocol.LeftSlot(f"{written}-0"))
        other = await box.submit(image_model="b")
        box.process.report(protocol.Loading("b"))
        await until(lambda: box.process.killed)
        await box.crash()
        await box.fails(written, "write_timeout")
        assert box.scheduler.loads.errors == {}
        assert box.process.ids == [f"{other}-0"]

    play(Box(tmp_path, bounds=msgspec.structs.replace(QUICK, write_s=0.1)), scene)


def test_a_process_with_nothing_to_do_is_left_alone(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit()
        box.process.generate(f"{job_id}-0")
        await asyncio.sleep(0.2)
        assert not box.process.killed

    play(
        Box(
            tmp_path,
            step_timeout_s=0.05,
            load_timeout_s=0.05,
            bounds=msgspec.structs.replace(QUICK, start_s=0.05, write_s=0.05),
        ),
        scene,
    )


# ── several images a job ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_of_several_images_succeeds_as_a_whole(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(n=3, seed=10)
        ids = [f"{job_id}-{index}" for index in range(3)]
        assert box.process.ids == ids, "the images of a job share a batch"
        assert [order.item.seed for order in box.process.ordered] == [10, 11, 12]
        box.process.report(protocol.Steps((protocol.Step(ids[1], 3, 0.0),), 3))
        assert box.scheduler.progress(job_id) == pytest.approx(0.9 / 3)
        for image_id in reversed(ids):
            assert not box.status(job_id).ended
            box.process.generate(image_id)
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert [meta["seed"] for meta in box.results(job_id)] == [10, 11, 12]
        assert box.extras(job_id, "denoising") == [{"step": 3, "steps": 3, "image": 1}]
        assert box.files() == [f"{job_id[-2:]}/{image_id}.png" for image_id in ids]
        assert (box.attempts(job_id), box.last(job_id).message) == (1, "The images are in the catalogue")

    play(Box(tmp_path, max_batch=4, reproducible="true"), scene)


def test_a_job_waits_with_its_first_waiting_image(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first = await box.submit(n=4)
        second = await box.submit(n=2)
        assert len(box.process.ids) == 2
        assert (box.scheduler.position(first), box.scheduler.position(second)) == (0, 2)
        assert box.scheduler.backlog == 4
        assert box.scheduler.estimate(box.client, 0, box.job(n=3).plan.generations)[0] == 4

    play(Box(tmp_path), scene)


def test_an_estimate_is_made_of_what_such_images_took(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        process = box.process
        job_id = await box.submit(image_model="a")
        process.generate(process.ids[0])
        await box.ends(job_id)
        # The fake process says 1.5 s an image, in one slot.
        for images in (1, 3):
            generations = box.job(n=images, image_model="a").plan.generations
            assert box.scheduler.estimate(box.client, 0, generations) == (0, 1.5 * images)

    play(Box(tmp_path), scene)


def test_one_bad_image_fails_its_job_once_and_the_others_are_withdrawn(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(n=4)
        neighbour = await box.submit(seed=1)
        generated, bad = box.process.ids
        box.process.generate(generated)
        box.process.report(failed(bad))
        # The third image was sent when the first left its slot.
        assert box.process.cancelled == [f"{job_id}-2"]
        assert not box.status(job_id).ended, "an image of it is still in the GPU process"
        assert not box.scheduler.cancel(job_id), "it fails already"
        box.process.report(protocol.Cancelled(f"{job_id}-2"))
        await box.fails(job_id, "pipeline_error")
        assert box.last(job_id).extra == {"reason": "pipeline_error", "refunded": 20, "attempts": 1, "image": 1}
        await until(lambda: box.files() == [])
        assert box.process.ids[-1] == f"{neighbour}-0", "the neighbour goes on"
        assert f"{job_id}-3" not in box.process.ids

    play(Box(tmp_path), scene)


def test_cancelling_a_job_ends_all_of_its_images(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(n=4)
        assert box.scheduler.cancel(job_id)
        assert box.scheduler.backlog == 0
        assert box.process.cancelled == box.process.ids
        for image_id in box.process.ids:
            box.process.report(protocol.Cancelled(image_id))
        await box.fails(job_id, "cancelled")

    play(Box(tmp_path), scene)


def test_a_bad_image_of_several_takes_a_seed_that_no_other_image_has(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(n=2, seed=10, on_technical_failure="retry")
        box.process.report(failed(f"{job_id}-0", FailureReason.BLACK_IMAGE, Fault.IMAGE))
        assert [order.item.seed for order in box.process.ordered] == [10, 11, 12]
        for image_id in (f"{job_id}-1", f"{job_id}-0"):
            box.process.generate(image_id)
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert [meta["seed"] for meta in box.results(job_id)] == [12, 11]
        assert box.attempts(job_id) == 2
        assert box.extras(job_id, "retrying") == [{"reason": "black_image", "attempts": 1, "seed": 12, "image": 0}]

    play(Box(tmp_path, max_batch=2, reproducible="true"), scene)


def test_a_crash_isolates_the_images_of_a_job_one_by_one(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(n=2)
        await box.crash()
        assert [order.isolated for order in box.process.ordered] == [True, True]
        box.process.generate(f"{job_id}-0")
        await box.crash()
        await box.fails(job_id, "worker_crashed")
        await until(lambda: box.files() == [])

    play(Box(tmp_path, max_batch=2, reproducible="true"), scene)


# ── several GPUs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_gpus_serve_one_queue(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        job_ids = [await box.submit(seed=seed) for seed in range(8)]
        # Each GPU has one image in a slot and one ahead.
        assert [len(first.ids), len(second.ids)] == [2, 2]
        while set(first.ids + second.ids) != {f"{job_id}-0" for job_id in job_ids}:
            for process in (first, second):
                process.generate(process.ids[-2])
        for process in (first, second):
            for image_id in process.ids[-2:]:
                process.generate(image_id)
        for job_id in job_ids:
            assert await box.ends(job_id) is JobStatus.SUCCESS
        assert [len(first.ids), len(second.ids)] == [4, 4]
        assert set(first.ids).isdisjoint(second.ids), "an image was generated twice"

    play(Box(tmp_path, gpus=2), scene)


def test_each_gpu_is_given_what_its_model_can_do(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        first.report(protocol.Loaded("a", "r", 0.0))
        second.report(protocol.Loaded("b", "r", 0.0))
        for seed in range(4):
            for model in "ab":
                await box.submit(seed=seed, image_model=model)
        assert {order.card.name for order in first.ordered} == {"a"}
        assert {order.card.name for order in second.ordered} == {"b"}
        assert box.scheduler.readiness().loaded == ["a", "b"]

    play(Box(tmp_path, gpus=2), scene)


def test_a_crash_of_one_gpu_leaves_the_other(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        job_id = await box.submit(n=6)
        lost, kept = list(first.ids), list(second.ids)
        assert sorted(lost + kept) == [f"{job_id}-{index}" for index in range(6)]
        again = await box.crash()
        assert set(again.ids) < set(lost)
        assert all(order.isolated for order in again.ordered)
        for image_id in kept:
            second.generate(image_id)
        while not box.status(job_id).ended:
            for process in (again, second):
                for image_id in process.ids:
                    if not any(image_id in file for file in box.files()):
                        process.generate(image_id)
            await asyncio.sleep(0.01)
        assert box.status(job_id) is JobStatus.SUCCESS
        assert len(box.results(job_id)) == 6

    play(Box(tmp_path, gpus=2, max_batch=2, reproducible="true"), scene)


def test_a_withdrawn_image_is_cancelled_on_the_gpu_that_has_it(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        first, second = (gpu.process for gpu in box.gpus)
        job_id = await box.submit(n=4)
        first.report(failed(first.ids[0]))
        assert first.cancelled == first.ids[1:]
        assert second.cancelled == second.ids
        for process in (first, second):
            for image_id in process.cancelled:
                process.report(protocol.Cancelled(image_id))
        await box.fails(job_id, "pipeline_error")

    play(Box(tmp_path, gpus=2), scene)


# ── models.toml ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pins_and_the_default_model_are_told(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        models = box.models.current.models
        assert box.process.orders == [protocol.Pin(()), protocol.Load(models["a"])]
        box.edit_models('default_model = "a"', 'default_model = "b"')
        assert box.process.orders[2:] == [protocol.Pin(()), protocol.Load(models["b"])]
        box.edit_models("[models.a]", "[models.a]\npinned = true")
        assert box.process.orders[4] == protocol.Pin(("a",))

    play(Box(tmp_path), scene)


def test_jobs_of_a_model_that_is_removed_fail_unless_they_run_already(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_ids = [await box.submit(seed=seed, image_model="b") for seed in range(3)]
        running, ahead, waiting = job_ids
        box.edit_models("[models.b]", "[models.b]\nenabled = false")
        await box.fails(waiting, "model_removed")
        box.process.generate(f"{running}-0")
        assert await box.ends(running) is JobStatus.SUCCESS
        # An image that would have to run again cannot.
        await box.crash()
        await box.fails(ahead, "worker_crashed")

    play(Box(tmp_path), scene)


def test_an_edited_card_is_for_later_images(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        await box.submit(seed=1)
        box.edit_models("step_timeout_s", "# step_timeout_s")
        box.edit_models("guidance = 2.0", "guidance = 2.0\nnegative_prompt = 'blur'")
        await box.submit(seed=2)
        first, second = box.process.ordered
        assert (first.card.wording.negative_prompt, second.card.wording.negative_prompt) == ("", "blur")

    play(Box(tmp_path), scene)


# ── the server's stops ───────────────────────────────────────────────────────────────────────────────────────────────


def test_all_of_a_job_runs_again_after_the_server_was_killed(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id, waiting = await box.submit(n=2, seed=1), await box.submit(seed=9, image_model="b")
        box.process.generate(f"{job_id}-0")
        await until(lambda: box.status(job_id) is JobStatus.IN_PROGRESS)
        await box.restart(killed=True)
        assert box.process.ids == [f"{job_id}-0", f"{job_id}-1", f"{waiting}-0"]
        assert [order.item.seed for order in box.process.ordered] == [1, 2, 9]
        for image_id in box.process.ids:
            box.process.generate(image_id)
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert box.extras(job_id, "retrying") == [{"reason": "server_restarted", "attempts": 1}]
        assert box.attempts(job_id) == 2
        assert await box.ends(waiting) is JobStatus.SUCCESS

    play(Box(tmp_path, max_batch=2, reproducible="true"), scene)


def test_a_job_without_attempts_left_fails_when_the_server_is_back(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(n=2)
        for attempt in range(1, 4):
            await until(lambda: box.status(job_id) is JobStatus.IN_PROGRESS)
            await until(lambda: box.attempts(job_id) == attempt)  # noqa: B023  it is waited for right here
            await box.restart(killed=True)
        await box.fails(job_id, "server_restarted")
        assert box.process.ids == []

    play(Box(tmp_path), scene)


def test_a_stop_in_good_order_costs_no_attempt(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id, waiting = await box.submit(n=3), await box.submit(seed=9)
        box.process.generate(f"{job_id}-0")
        await until(lambda: box.attempts(job_id) == 1)
        await box.restart(killed=False)
        assert box.attempts(waiting) == 0
        for image_id in (f"{job_id}-0", f"{job_id}-1", f"{job_id}-2", f"{waiting}-0"):
            await until(lambda: image_id in box.process.ids)  # noqa: B023  it is waited for right here
            box.process.generate(image_id)
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert box.attempts(job_id) == 1
        assert box.extras(job_id, "retrying") == [{"reason": "server_stopped"}]
        assert await box.ends(waiting) is JobStatus.SUCCESS
        assert box.extras(waiting, "retrying") == []

    play(Box(tmp_path), scene)


def test_a_job_that_was_cancelled_when_the_server_stopped_ends_as_cancelled(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        job_id = await box.submit(n=2)
        box.scheduler.cancel(job_id)
        await box.restart(killed=False)
        await box.fails(job_id, "cancelled")
        assert box.process.ids == []

    play(Box(tmp_path), scene)


def test_the_end_of_a_job_is_tried_until_the_disk_takes_it(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        refuse = "BEFORE UPDATE OF status ON jobs WHEN NEW.status = 'SUCCESS'"
        box.connection.execute(f"CREATE TRIGGER refuse {refuse} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
        job_id = await box.submit()
        box.process.generate(f"{job_id}-0")
        # Writes keep their order, so the first try has been refused when a later end is on disk.
        other = await box.submit(seed=1)
        box.process.report(failed(f"{other}-0"))
        await box.fails(other, "pipeline_error")
        assert box.status(job_id) is JobStatus.IN_PROGRESS
        box.connection.execute("DROP TRIGGER refuse")
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert len(box.results(job_id)) == 1

    play(Box(tmp_path), scene)
