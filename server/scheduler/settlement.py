"""Writes to the ledger what becomes of jobs, in the order in which that was decided, and what batches cost.

A job's followers are woken when a write about it is on disk. A write of progress that fails is logged and lost; the end of a
job is tried again until the disk takes it, because money hangs on it.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from pipelines import protocol
from pipelines.batch_choice import BatchCost
from pipelines.failure_reason import FailureReason
from pipelines.output import whole_file
from server import metrics, previews
from server.event_hub import EventHub
from server.jobs import EventType, Job
from server.ledger import batch_costs, events, jobs
from server.ledger.catalog import Result
from server.ledger.database import Database, DatabaseFull, Work
from server.scheduler.active_job import Ending

T = TypeVar("T")
P = ParamSpec("P")
log = logging.getLogger(__name__)

#: Returns what to keep of a job's images, from the job and the report of each of them.
ResultOf = Callable[[Job, Sequence[protocol.Generated]], Result]

#: Seconds before the end of a job is tried again: the first pause, which is doubled each time, and the longest one.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class StageEvent(msgspec.Struct, frozen=True):
    """A public event of a job that has not ended."""

    job: Job
    stage: protocol.Stage
    message: str
    extra: dict[str, Any]
    #: When it happened, as the wire writes times; None is the time of the write.
    moment: str | None = None


class Settlement:
    """Writes for the scheduler. Nothing here decides anything."""

    def __init__(self, database: Database, hub: EventHub, result_of: ResultOf, previews: Path) -> None:
        """Take the folder of the previews."""
        self._database = database
        self._hub = hub
        self._result_of = result_of
        self._previews = previews
        #: The writes that are not on disk yet.
        self._under_way: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns. If the caller goes away meanwhile, it is finished all the same."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    def start(self, job: Job, attempts: int) -> None:
        """Mark a job as in progress."""
        self._write([job], jobs.start, job.job_id, attempts)

    def tell(self, told: Sequence[StageEvent]) -> None:
        """Append events, in this order."""

        def add(connection: sqlite3.Connection) -> None:
            for event in told:
                events.add(
                    connection,
                    event.job.job_id,
                    EventType.STAGE,
                    event.message,
                    stage=event.stage,
                    extra=event.extra,
                    moment=event.moment,
                )

        if told:
            self._write([event.job for event in told], add)

    def run_again(self, job: Job, message: str, extra: dict[str, Any]) -> None:
        """Write the plan and the attempts with which a job runs again, and tell of it."""
        self._write([job], jobs.run_again, job, message, extra)

    def leave_for_restart(self, job: Job, attempts: int) -> None:
        """Let a job wait for the next start of the server."""
        self._write([job], jobs.leave_for_restart, job.job_id, attempts)

    def note_cost(self, cost: BatchCost) -> None:
        """Keep what a batch size costs."""
        self._write([], batch_costs.note, cost)

    def succeed(self, job: Job, images: Sequence[protocol.Generated], submitted: float) -> None:
        """End a job with its images. `submitted` is when it came to this server, on the monotonic clock."""
        result = self._result_of(job, images)
        self._end(
            job,
            lambda connection: jobs.succeed(connection, job.job_id, result),
            outcome="success",
            message="success",
            submitted=submitted,
        )

    def fail(self, job: Job, ending: Ending, files: Sequence[Path], submitted: float) -> None:
        """End a job, give its credits back, and remove the files of its images."""
        self._end(
            job,
            lambda connection: jobs.fail(connection, job.job_id, ending.reason, ending.message, ending.extra),
            outcome=ending.reason,
            message=ending.message,
            submitted=submitted,
            files=files,
        )

    async def drain(self, timeout_s: float) -> None:
        """Wait until all writes are on disk, and give up those that are not after this time."""
        if not self._under_way:
            return
        _, pending = await asyncio.wait(self._under_way, timeout=timeout_s)
        for task in pending:
            task.cancel()
        if pending:
            log.error("%d writes to the ledger were given up after %g s", len(pending), timeout_s)

    def _end(
        self,
        job: Job,
        end: Callable[[sqlite3.Connection], bool],
        *,
        outcome: str,
        message: str,
        submitted: float,
        files: Sequence[Path] = (),
    ) -> None:
        # The first try is submitted here and now, so that it keeps its place among the other writes.
        first = self._database.submit(end)

        async def settle() -> None:
            ended = await self._until_on_disk(job, first, end)
            previews.remove(self._previews, job)
            self._hub.publish(job)
            if not ended:
                return
            metrics.jobs_ended.labels(outcome).inc()
            if outcome != "success":
                metrics.credits_refunded.labels(outcome).inc(job.credits_cost)
            metrics.job_seconds.observe(time.monotonic() - submitted)
            level = logging.INFO if outcome in ("success", FailureReason.CANCELLED) else logging.WARNING
            log.log(level, "Job %s of %s ended: %s", job.job_id, job.plan.model, message)
            for file in files:
                whole_file.remove(file)

        self._track(settle())

    async def _until_on_disk(self, job: Job, first: Awaitable[bool], end: Callable[[sqlite3.Connection], bool]) -> bool:
        """Try to write the end of a job until the disk takes it, and return whether the job had not ended before."""
        attempt, pause = first, FIRST_PAUSE_S
        while True:
            try:
                return await attempt
            except DatabaseFull as error:
                log.warning("Job %s could not be ended: %s; trying again in %.1f s", job.job_id, error, pause)
            except Exception:
                log.exception("Job %s could not be ended; trying again in %.1f s", job.job_id, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)
            attempt = self._database.submit(end)

    def _write(self, told: Iterable[Job], work: Work[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        written = self._database.submit(work, *args, **kwargs)

        async def wake_followers() -> None:
            await written
            for job in told:
                self._hub.publish(job)

        self._track(wake_followers())

    def _track(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._under_way.discard(task)
        error = None if task.cancelled() else task.exception()
        # The ledger itself logs once that the disk is full.
        if error is not None and not isinstance(error, DatabaseFull):
            log.error("A write to the ledger failed", exc_info=error)
