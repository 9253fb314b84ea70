"""The operator's control of the queue. What the operator decides is in the ledger first, so it outlives restarts."""

import asyncio
import logging
import sqlite3
import time

from server.ledger import queue_control
from server.ledger.database import Database, DatabaseBusy, DatabaseFull
from server.scheduler.active_jobs import ActiveJobs
from server.scheduler.feeding import Feeder
from server.scheduler.kept_cancels import KeptCancels
from server.scheduler.queue import Queue
from server.scheduler.standing import Standing, standings

log = logging.getLogger(__name__)

#: Seconds between looks for jobs whose cancel the operator's command asked for.
LOOK_EVERY_S = 0.5


class Control:
    """Carries out what the operator has decided, once it is in the ledger."""

    def __init__(
        self, database: Database, queue: Queue, jobs: ActiveJobs, feeder: Feeder, kept_cancels: KeptCancels
    ) -> None:
        #: Since when the queue is paused, as the wire writes times; None if it is not.
        self.paused_at: str | None = None
        self._database = database
        self._queue = queue
        self._jobs = jobs
        self._feeder = feeder
        self._kept_cancels = kept_cancels
        self._carrying: asyncio.Task[None] | None = None

    async def restore(self) -> None:
        """Take up what the last run of the server left. All jobs are in the queue by then."""
        self.pause(await self._database.read(queue_control.paused_at))
        for job_id in await self._database.read(queue_control.front):
            self._jobs.move_to_front(job_id)
        kept = self._kept_cancels.read()
        for job_id in [*await self._database.read(queue_control.to_cancel), *kept]:
            self._jobs.cancel(job_id)
        if kept:
            # This write waits as long as another program has the ledger's lock; the start goes on meanwhile.
            self._carrying = asyncio.create_task(self._carry_over(kept))

    async def keep_cancel(self, job_id: str) -> None:
        """Let a cancel hold even if the server stops or is killed before the job's end is in the ledger."""
        if self._database.locked_since is None:
            try:
                await self._database.write(queue_control.ask_for_cancel, job_id)
            except (DatabaseBusy, DatabaseFull):
                pass
            else:
                return
        self._kept_cancels.add(job_id)

    async def _carry_over(self, job_ids: list[str]) -> None:
        def ask(connection: sqlite3.Connection) -> None:
            for job_id in job_ids:
                queue_control.ask_for_cancel(connection, job_id)

        try:
            await self._database.submit(ask)
        except Exception:
            log.exception("The ledger did not take %d cancels; the next start tries again", len(job_ids))
        else:
            self._kept_cancels.remove(job_ids)

    def pause(self, since: str | None) -> None:
        """Send no more images to GPUs; those that were sent go on. If `since` is None, send again."""
        self.paused_at = since
        self._queue.paused = since is not None
        self._feeder.advance()

    def move_to_front(self, job_id: str) -> None:
        """Let a job go before all others, those moved there before included."""
        self._jobs.move_to_front(job_id)
        self._feeder.advance()

    def standings(self) -> list[Standing]:
        """Return the jobs that have not ended, in the order in which they are served."""
        return standings(self._jobs)

    @property
    def oldest_s(self) -> float:
        """Return how long the oldest waiting image has waited, in seconds; 0 if none waits."""
        oldest = self._queue.oldest
        return 0.0 if oldest is None else max(0.0, time.monotonic() - oldest)

    async def follow_command(self) -> None:
        """Cancel the jobs that `backlot jobs cancel` names, until this is cancelled."""
        while True:
            try:
                asked = await self._database.read(queue_control.to_cancel)
                for job_id in asked:
                    self._jobs.cancel(job_id)
                if asked:
                    self._feeder.advance()
            except Exception:
                log.exception("The ledger could not be asked which jobs to cancel")
            await asyncio.sleep(LOOK_EVERY_S)
