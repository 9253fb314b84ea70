"""Images that come soon after the first of a burst, on a ledger on disk: slot groups are taken back, and nothing else changes."""

from pathlib import Path

import pytest

from pipelines import protocol
from pipelines.failure_reason import FailureReason, Fault
from server.jobs import JobStatus
from server.ledger import credits
from tests.support.box import PRICE, Box, play, until
from tests.support.fake_process import FakeProcess

#: Seconds of a step by number of slots, so long that no image ever runs for a fifth of its time.
COSTS = {1: 1000.0, 2: 1100.0, 4: 1200.0, 8: 1600.0}


def knows_costs(process: FakeProcess, model: str = "a") -> None:
    """Let a process have a model in memory and say what its steps cost."""
    process.report(protocol.Loaded(model, "r", 1.0))
    for size, seconds in COSTS.items():
        process.report(protocol.Measured(model, "r", 512, 512, size, seconds, 1))


def drop(process: FakeProcess) -> None:
    """Let a process drop the images that it was told to drop."""
    for image_id in process.dropping:
        process.report(protocol.Cancelled(image_id))


def step(image_id: str, number: int) -> protocol.Steps:
    return protocol.Steps((protocol.Step(image_id, number, 0.0),), 3)


async def succeed(box: Box, jobs: list[str]) -> None:
    """Let all jobs be generated, and check that each was charged once, ran once to its end, and reported no fault."""
    for image_id in box.process.unanswered:
        box.process.generate(image_id)
    for job_id in jobs:
        assert await box.ends(job_id) is JobStatus.SUCCESS
        assert box.attempts(job_id) == 1
        assert box.extras(job_id, "retrying") == []
        assert len(box.results(job_id)) == 1
    totals = credits.totals(box.connection, box.client)
    assert (totals.spent, totals.refunded) == (len(jobs) * PRICE, 0)


def test_a_burst_on_an_idle_gpu_runs_together(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        knows_costs(box.process)
        jobs = [await box.submit(seed=1)]
        image_id = f"{jobs[0]}-0"
        box.process.report(step(image_id, 1))
        jobs += [await box.submit(seed=seed) for seed in (2, 3, 4)]
        assert (box.process.ids, box.process.dropping) == ([image_id], [image_id])
        drop(box.process)
        assert [order.item.image_id for order in box.process.ordered[1:]] == [f"{job_id}-0" for job_id in jobs]
        assert [(order.batch_size, order.isolated) for order in box.process.ordered[1:]] == [(4, False)] * 4
        assert box.scheduler.progress(jobs[0]) == 0.0
        box.process.report(step(image_id, 1))
        await succeed(box, jobs)
        # The image's steps begin anew, and it has no other event.
        assert [extra["step"] for extra in box.extras(jobs[0], "denoising")] == [1, 1]
        assert box.process.dropping == []

    play(Box(tmp_path, max_batch=8), scene)


def test_a_burst_behind_images_that_run_grows_the_group_that_follows(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        box.process.report(protocol.Loaded("a", "r", 1.0))
        for size in (1, 2, 4):
            # A larger size is hardly better than a smaller one, so no running image is taken back.
            box.process.report(protocol.Measured("a", "r", 512, 512, size, 1000.0 * size**0.9, 1))
        jobs = [await box.submit(seed=seed) for seed in (1, 2, 3, 4, 5)]
        assert [(order.item.seed, order.batch_size) for order in box.process.ordered] == [(1, 1), (2, 1)]
        assert box.process.dropping == [f"{jobs[1]}-0"]
        drop(box.process)
        assert [(order.item.seed, order.batch_size) for order in box.process.ordered[2:]] == [(2, 4)]
        box.process.generate(f"{jobs[0]}-0")
        assert [(order.item.seed, order.batch_size) for order in box.process.ordered[3:]] == [(3, 4), (4, 4), (5, 4)]
        await succeed(box, jobs)

    play(Box(tmp_path, max_batch=4), scene)


def test_an_image_that_was_done_before_it_could_be_dropped_is_done(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        knows_costs(box.process)
        jobs = [await box.submit(seed=seed) for seed in (1, 2)]
        assert box.process.dropping == [f"{jobs[0]}-0"]
        box.process.generate(f"{jobs[0]}-0")
        assert await box.ends(jobs[0]) is JobStatus.SUCCESS
        assert [order.item.seed for order in box.process.ordered] == [1, 2]
        await succeed(box, jobs)

    play(Box(tmp_path, max_batch=8), scene)


def test_a_cancel_while_an_image_is_taken_back(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        knows_costs(box.process)
        gone, other = await box.submit(seed=1), await box.submit(seed=2)
        box.scheduler.cancel(gone)
        box.process.report(protocol.Cancelled(f"{gone}-0"))
        await box.fails(gone, "cancelled")
        assert [order.item.seed for order in box.process.ordered] == [1, 2]
        box.process.generate(f"{other}-0")
        assert await box.ends(other) is JobStatus.SUCCESS

    play(Box(tmp_path, max_batch=8), scene)


@pytest.mark.parametrize("crashes", [True, False])
def test_a_fault_while_an_image_is_taken_back(tmp_path: Path, crashes: bool) -> None:
    async def scene(box: Box) -> None:
        knows_costs(box.process)
        first, second = [await box.submit(seed=seed, on_technical_failure="retry") for seed in (1, 2)]
        image_id = f"{first}-0"
        assert box.process.dropping == [image_id]
        if crashes:
            await box.crash()
        else:
            box.process.report(protocol.Failed(image_id, FailureReason.PIPELINE_ERROR, "it broke", Fault.MACHINE))
        # The run that failed counts as an attempt, as any other does.
        await until(lambda: len(box.extras(first, "retrying")) == 1)
        assert box.process.dropping == []
        while box.process.unanswered:
            box.process.generate(box.process.unanswered[0])
        for job_id in (first, second):
            assert await box.ends(job_id) is JobStatus.SUCCESS
        assert (box.attempts(first), box.attempts(second)) == (2, 1)

    play(Box(tmp_path, max_batch=8), scene)


def test_a_model_that_is_removed_while_its_image_is_taken_back(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        knows_costs(box.process, "b")
        jobs = [await box.submit(seed=seed, image_model="b") for seed in (1, 2)]
        box.edit_models("[models.b]", "[models.b]\nenabled = false")
        drop(box.process)
        for job_id in jobs:
            await box.fails(job_id, "model_removed")

    play(Box(tmp_path, max_batch=8), scene)


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("dropped", [True, False])
def test_a_restart_while_an_image_is_taken_back(tmp_path: Path, killed: bool, dropped: bool) -> None:
    async def scene(box: Box) -> None:
        knows_costs(box.process)
        jobs = [await box.submit(seed=seed) for seed in (1, 2)]
        box.scheduler.control.pause("2026-01-01T00:00:00Z")
        if dropped:
            drop(box.process)
            await until(lambda: box.attempts(jobs[0]) == 0)
        await box.restart(killed)
        box.scheduler.control.pause(None)
        await until(lambda: len(box.process.unanswered) == 2)
        for image_id in box.process.unanswered:
            box.process.generate(image_id)
        for job_id in jobs:
            assert await box.ends(job_id) is JobStatus.SUCCESS
        # A kill of the server counts as an attempt of the image that ran.
        assert [box.attempts(job_id) for job_id in jobs] == [2 if killed and not dropped else 1, 1]

    play(Box(tmp_path, max_batch=8), scene)


def test_an_image_that_has_run_for_a_fifth_of_its_time_is_left_alone(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        box.process.report(protocol.Loaded("a", "r", 1.0))
        for size, seconds in COSTS.items():
            # A fifth of this time is over at once.
            box.process.report(protocol.Measured("a", "r", 512, 512, size, seconds / 1e9, 1))
        jobs = [await box.submit(seed=seed) for seed in (1, 2)]
        assert box.process.dropping == []
        await until(lambda: len(box.process.unanswered) == 2)
        await succeed(box, jobs)

    play(Box(tmp_path, max_batch=8), scene)


def test_the_images_of_one_job_keep_their_order(tmp_path: Path) -> None:
    async def scene(box: Box) -> None:
        knows_costs(box.process)
        job_id = await box.submit(n=2, seed=1)
        assert [order.batch_size for order in box.process.ordered] == [2, 2]
        other = await box.submit(n=6, seed=11)
        drop(box.process)
        assert [order.item.seed for order in box.process.ordered[2:]] == [1, 2, 11, 12, 13, 14, 15, 16]
        assert {order.batch_size for order in box.process.ordered[2:]} == {8}
        for image_id in box.process.unanswered:
            box.process.generate(image_id)
        for each in (job_id, other):
            assert await box.ends(each) is JobStatus.SUCCESS

    play(Box(tmp_path, max_batch=8), scene)
