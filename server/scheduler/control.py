"""What the operator orders of the queue. Each order is in the ledger first, so it holds over restarts of the server."""

import asyncio
import logging
import time

from server.ledger import queue_orders
from server.ledger.database import Database
from server.scheduler.active_jobs import ActiveJobs
from server.scheduler.feeding import Feeder
from server.scheduler.queue import Queue
from server.scheduler.standing import Standing, standings

log = logging.getLogger(__name__)

#: Seconds between looks for jobs whose cancel the operator's command asked for.
LOOK_EVERY_S = 0.5


class Control:
    """Carries out what is in the ledger already."""

    def __init__(self, database: Database, queue: Queue, jobs: ActiveJobs, feeder: Feeder) -> None:
        #: Since when the queue is paused, as the wire writes times; None if it is not.
        self.paused_at: str | None = None
        self._database = database
        self._queue = queue
        self._jobs = jobs
        self._feeder = feeder

    async def restore(self) -> None:
        """Take up the orders that the last run of the server left. All jobs are in the queue by then."""
        self.pause(await self._database.read(queue_orders.paused_at))
        for job_id in await self._database.read(queue_orders.front):
            self._jobs.move_to_front(job_id)

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
                for job_id in await self._database.read(queue_orders.to_cancel):
                    self._jobs.cancel(job_id)
                self._feeder.advance()
            except Exception:
                log.exception("The ledger could not be asked which jobs to cancel")
            await asyncio.sleep(LOOK_EVERY_S)
