"""`/v1/admin/queue` and `/v1/admin/jobs`: all clients' waiting and running jobs, and what the operator does about them."""

from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from server.api.admin.change import change
from server.api.cancelling import cancel, report_of
from server.api.jobs import Limit, Offset
from server.api.openapi import errors
from server.clock import Time
from server.errors import Conflict
from server.event_hub import EventHub
from server.ledger import job_reports, queue_control
from server.ledger.clients import Caller
from server.ledger.database import Database
from server.ledger.job_reports import JobReport
from server.scheduler.scheduler import Scheduler


class QueueState(msgspec.Struct, frozen=True):
    #: Since when the queue is paused; null if it is not. A paused queue takes jobs, and sends none to a GPU.
    paused_at: Time | None
    images_waiting: int
    images_in_flight: int


class QueuedJob(msgspec.Struct, frozen=True):
    """A job that has not ended."""

    job: JobReport
    images_waiting: int
    images_in_flight: int
    images_generated: int
    #: 0–1.
    progress: float
    #: Images that go before its next one, 0 is next; null if none of its images waits.
    queue_position: int | None
    #: Whether the operator moved it before all others.
    front: bool
    #: Whether it was cancelled, or one of its images failed, and it ends once no GPU process has an image of it.
    ending: bool


class QueuePage(msgspec.Struct, frozen=True):
    state: QueueState
    #: First those that run, then those that wait, in the order in which they are served.
    jobs: list[QueuedJob]
    limit: int
    offset: int
    total: int


@get("/queue", responses=errors(422), summary="See what waits and runs")
async def read_queue(
    scheduler: NamedDependency[Scheduler],
    database: NamedDependency[Database],
    limit: Limit = 50,
    offset: Offset = 0,
) -> QueuePage:
    standings = scheduler.control.standings()
    shown = standings[offset : offset + limit]
    ids = [one.job_id for one in shown]
    reports = await database.read(job_reports.named, ids)
    jobs = [
        QueuedJob(
            reports[one.job_id],
            one.waiting,
            one.in_flight,
            one.generated,
            one.progress,
            one.position,
            one.front,
            one.ending,
        )
        for one in shown
    ]
    return QueuePage(_state(scheduler), jobs, limit, offset, len(standings))


@post("/queue/pause", status_code=200, responses=errors(503), summary="Pause the queue")
async def pause_queue(
    request: Request[Caller, Any, Any], scheduler: NamedDependency[Scheduler], database: NamedDependency[Database]
) -> QueueState:
    """Take jobs, and send none to a GPU, until the queue is resumed; running images go on. A pause outlives a restart."""
    scheduler.control.pause(await change(request, database, queue_control.pause))
    return _state(scheduler)


@post("/queue/resume", status_code=200, responses=errors(503), summary="Resume the queue")
async def resume_queue(
    request: Request[Caller, Any, Any], scheduler: NamedDependency[Scheduler], database: NamedDependency[Database]
) -> QueueState:
    await change(request, database, queue_control.resume)
    scheduler.control.pause(None)
    return _state(scheduler)


@post(
    "/jobs/{public_id:str}/cancel", status_code=200, responses=errors(404, 409, 503), summary="Cancel any client's job"
)
async def cancel_any_job(
    public_id: FromPath[str],
    scheduler: NamedDependency[Scheduler],
    database: NamedDependency[Database],
    hub: NamedDependency[EventHub],
) -> JobReport:
    """End a job and give its client the credits back, as the client's own cancel does."""
    return await cancel(scheduler, database, hub, public_id)


@post(
    "/jobs/{public_id:str}/front", status_code=200, responses=errors(404, 409, 503), summary="Move a job to the front"
)
async def move_job_to_front(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    scheduler: NamedDependency[Scheduler],
    database: NamedDependency[Database],
) -> JobReport:
    """Let a waiting job go before all others, whatever models are loaded; jobs moved there earlier come after it."""
    report = await report_of(database, public_id)
    if scheduler.position(public_id) is None:
        raise Conflict(f"Nothing of job {public_id} waits, so it cannot be moved; its status is {report.status}")
    await change(request, database, queue_control.move_to_front, public_id)
    scheduler.control.move_to_front(public_id)
    return report


def _state(scheduler: Scheduler) -> QueueState:
    in_flight = sum(len(gpu.in_flight) for gpu in scheduler.gpus)
    return QueueState(scheduler.control.paused_at, scheduler.backlog, in_flight)
