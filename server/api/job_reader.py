"""Reading jobs for one request: from the ledger and the queue, with links that its client can follow."""

import msgspec

from server.api import views
from server.api.following import follow
from server.api.views import JobView, Linker
from server.errors import JobNotFound
from server.event_hub import EventHub
from server.ledger import clients, job_reads
from server.ledger.clients import Caller
from server.ledger.database import Database
from server.ledger.job_reads import JobDetail
from server.scheduler.scheduler import Scheduler


class JobReader(msgspec.Struct, frozen=True):
    """Gives the routes of jobs all that they need in one object: Litestar starts a task for each of several."""

    database: Database
    scheduler: Scheduler
    hub: EventHub
    linker: Linker

    def may_read(self, caller: Caller) -> bool:
        """Return whether the caller's key is still good: a stream may go on for hours after the key was checked."""
        return self.database.look_up(clients.is_good, caller.key_id)

    async def detail(self, caller: Caller, public_id: str) -> JobDetail:
        """Return the caller's job as the ledger has it. Raises JobNotFound."""
        found = await self.database.read(job_reads.detail, caller.client_id, public_id)
        if found is None:
            raise JobNotFound(public_id)
        return found

    async def detail_when_ended(self, caller: Caller, public_id: str, patience_s: float) -> JobDetail:
        """Return the caller's job once it has ended, the time is up or the server stops. Raises JobNotFound."""
        return await follow(
            self.hub,
            public_id,
            lambda: self.detail(caller, public_id),
            lambda found: found.summary.status.ended,
            patience_s,
        )

    def view(self, found: JobDetail) -> JobView:
        """Return what clients see of a job, with its place in the queue."""
        public_id = found.summary.public_id
        return views.job(
            found,
            self.linker,
            queue_position=self.scheduler.position(public_id),
            estimated_seconds=self.scheduler.seconds_until(public_id),
            progress=self.scheduler.progress(public_id),
        )
