"""Whatever happens to GPUs and server, in whatever order: every job ends once, and money and files agree with its end."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipelines import protocol
from pipelines.failure_reason import FailureReason, Fault
from server.jobs import EventType, JobStatus
from server.ledger import credits
from tests.support.box import PRICE, QUICK, Box, lose_process, play, until
from tests.support.fake_process import FakeGpu

ACTIONS = 80


class Fate:
    """The things that a seed decides to do to a box."""

    def __init__(self, box: Box, seed: int) -> None:
        self.box = box
        self.rng = random.Random(seed)
        #: Each job, and how many images it has.
        self.jobs: dict[str, int] = {}

    async def act(self) -> None:
        """Let one thing happen."""
        actions = [
            (6, self.submit),
            (12, self.generate),
            (4, self.step),
            (2, self.fail),
            (1, self.fail_batch),
            (1, self.run_out_of_memory),
            (1, self.be_too_large),
            (1, self.refuse),
            (1, self.fail_to_load),
            (2, self.measure),
            (1, self.crash),
            (0.5, self.lose_box),
            (1, self.move_to_front),
            (1, self.cancel),
            (0.3, self.restart),
        ]
        (action,) = self.rng.choices([action for _, action in actions], [weight for weight, _ in actions])
        await action()

    def gpu(self) -> FakeGpu:
        return self.rng.choice(self.box.gpus)

    async def submit(self) -> None:
        n = self.rng.randint(1, 4)
        job_id = await self.box.submit(
            n=n,
            image_model=self.rng.choice("aab"),
            on_technical_failure=self.rng.choice(["fail", "retry", "deliver"]),
            seed=self.rng.randrange(1000),
        )
        self.jobs[job_id] = n

    async def generate(self) -> None:
        process = self.gpu().process
        for image_id in process.unanswered[: self.rng.randint(1, 2)]:
            if image_id in process.dropping:
                process.report(protocol.Cancelled(image_id))
            else:
                process.generate(image_id)

    async def step(self) -> None:
        process = self.gpu().process
        if process.unanswered:
            process.report(protocol.Steps((protocol.Step(process.unanswered[0], 1, 0.0),), 3))

    async def fail(self) -> None:
        process = self.gpu().process
        if process.unanswered:
            image_id = self.rng.choice(process.unanswered)
            fault = self.rng.choice(list(Fault))
            process.report(protocol.Failed(image_id, FailureReason.PIPELINE_ERROR, "it broke", fault))

    async def fail_batch(self) -> None:
        process = self.gpu().process
        if process.unanswered:
            in_slots = tuple(process.unanswered[:2])
            process.report(protocol.BatchFailed(FailureReason.PIPELINE_ERROR, "it broke", in_slots, "a"))

    async def run_out_of_memory(self) -> None:
        process = self.gpu().process
        if process.unanswered:
            again = tuple(process.unanswered[:2])
            reason = FailureReason.OUT_OF_MEMORY
            process.report(protocol.Restarted(again, "a", 512, 512, 1, 2, False, reason, "Out of memory"))

    async def be_too_large(self) -> None:
        process = self.gpu().process
        if process.unanswered:
            image_id, reason = self.rng.choice(process.unanswered), FailureReason.OUT_OF_MEMORY
            process.report(protocol.Failed(image_id, reason, "Out of memory", Fault.MACHINE))

    async def refuse(self) -> None:
        process = self.gpu().process
        if process.unanswered:
            order = next(order for order in reversed(process.ordered) if order.item.image_id == process.unanswered[-1])
            process.report(protocol.Refused(order.card.name, "other weights", (order.item.image_id,)))

    async def fail_to_load(self) -> None:
        process = self.gpu().process
        orders = {order.item.image_id: order.card.name for order in process.ordered}
        if process.unanswered:
            model = orders[process.unanswered[-1]]
            waited = tuple(image_id for image_id in process.unanswered if orders[image_id] == model)
            process.report(protocol.LoadFailed(model, FailureReason.MODEL_LOAD_FAILED, "it is damaged", waited))

    async def measure(self) -> None:
        """Let a GPU load a model whose steps cost little more in more slots, so that running images are taken back."""
        process, model = self.gpu().process, self.rng.choice("ab")
        process.report(protocol.Loaded(model, "r", 1.0))
        for size in (1, 2, 4, 8):
            process.report(protocol.Measured(model, "r", 512, 512, size, 1000.0 + size, 1))

    async def crash(self, *last_words: protocol.Report) -> None:
        gpu = self.gpu()
        for report in last_words:
            gpu.process.report(report)
        await lose_process(gpu)
        gpu.process.start()

    async def lose_box(self) -> None:
        await self.crash(protocol.DeviceLost("its box is gone"))

    async def move_to_front(self) -> None:
        if self.jobs:
            self.box.scheduler.control.move_to_front(self.rng.choice(list(self.jobs)))

    async def cancel(self) -> None:
        if self.jobs:
            self.box.scheduler.cancel(self.rng.choice(list(self.jobs)))

    async def restart(self) -> None:
        await self.box.restart(killed=self.rng.random() < 0.5)

    async def finish(self) -> None:
        """Let the GPUs generate what is left."""

        def all_ended() -> bool:
            for gpu in self.box.gpus:
                process = gpu.process
                for image_id in process.unanswered:
                    if image_id in process.dropping:
                        process.report(protocol.Cancelled(image_id))
                    else:
                        process.generate(image_id)
            return all(self.box.status(job_id).ended for job_id in self.jobs)

        await until(all_ended)


@pytest.mark.parametrize("card", [{"max_batch": 2, "reproducible": "true"}, {"max_batch": 8}], ids=["pinned", "free"])
@pytest.mark.parametrize("seed", range(12))
def test_every_job_ends_once(tmp_path: Path, seed: int, card: dict[str, Any]) -> None:
    async def scene(box: Box) -> None:
        fate = Fate(box, seed)
        for _ in range(ACTIONS):
            await fate.act()
        await fate.finish()
        await until(lambda: box.scheduler.backlog == 0)
        refunded, kept = 0, set()
        for job_id, n in fate.jobs.items():
            ends = [event for event in box.events(job_id) if event.event_type is not EventType.STAGE]
            assert [event.event_type for event in ends[:-1]] == [EventType.QUEUED]
            assert ends[-1] == box.last(job_id), "something was told after the end"
            if box.status(job_id) is JobStatus.SUCCESS:
                metas = box.results(job_id)
                assert len({meta["seed"] for meta in metas}) == n, "two images have one seed"
                kept |= {f"{job_id[-2:]}/{job_id}{'' if n == 1 else f'-{index}'}.png" for index in range(n)}
            else:
                assert box.results(job_id) == []
                refunded += n * PRICE
        totals = credits.totals(box.connection, box.client)
        assert (totals.spent, totals.refunded) == (sum(fate.jobs.values()) * PRICE, refunded)
        await until(lambda: set(box.files()) == kept)
        assert all(gpu.process.unanswered == [] for gpu in box.gpus)

    quick = msgspec.structs.replace(QUICK, load_pauses_s=(0.01,), refused_s=0.1, left_to_others_s=0.1)
    play(Box(tmp_path, gpus=1 + seed % 3, bounds=quick, **card), scene)
