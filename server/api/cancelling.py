"""Cancelling a job, for its client and for the operator."""

from pipelines.failure_reason import FailureReason
from server.api.following import follow
from server.errors import Busy, JobNotCancellable, JobNotFound
from server.event_hub import EventHub
from server.ledger import job_reports
from server.ledger.database import Database
from server.ledger.job_reports import JobReport
from server.scheduler.scheduler import Scheduler

#: Seconds a cancel waits for the denoising step under way, so that its answer usually shows the end.
PATIENCE_S = 3.5


async def cancel(scheduler: Scheduler, database: Database, hub: EventHub, public_id: str) -> JobReport:
    """Cancel any client's job and return it. If it has not ended yet, the cancel outlives a kill of the server.

    Raises JobNotFound; JobNotCancellable if the job had ended before, or ends otherwise; and Busy if its refund cannot be
    written now, or if its end, begun earlier, is not there yet.
    """

    async def read() -> JobReport:
        return await report_of(database, public_id)

    report = await read()
    if report.status.ended:
        raise _not_cancellable(report)
    is_promised = scheduler.cancel(public_id)
    report = await follow(hub, public_id, read, lambda found: found.status.ended, PATIENCE_S)
    if report.status.ended:
        if report.reason != FailureReason.CANCELLED:
            raise _not_cancellable(report)
        return report
    if is_promised:
        await scheduler.control.keep_cancel(public_id)
    if not is_promised or database.locked_since is not None:
        ending = "is cancelled" if is_promised else "is ending"
        raise Busy(
            f"The job {ending}, but the ledger takes no writes now: its end, and its refund if it has one, follow"
        )
    return report


async def report_of(database: Database, public_id: str) -> JobReport:
    """Return any client's job. Raises JobNotFound."""
    found = await database.read(job_reports.named, [public_id])
    if public_id not in found:
        raise JobNotFound(public_id, "the jobs of all clients")
    return found[public_id]


def _not_cancellable(report: JobReport) -> JobNotCancellable:
    return JobNotCancellable(f"Job {report.public_id} has ended already, with status {report.status}")
