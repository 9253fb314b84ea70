"""`/v1/jobs`: list, read, follow, cancel."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from server.api import views
from server.api.following import follow
from server.api.openapi import errors
from server.api.views import EventPage, JobPage, JobView, Linker
from server.clock import as_text
from server.errors import Busy, JobNotCancellable, JobNotFound
from server.jobs import JobStatus
from server.ledger import jobs
from server.ledger.clients import Caller
from server.ledger.database import Database
from server.scheduler.events import EventHub
from server.scheduler.scheduler import Scheduler

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many at most, 1–200")]
Offset = Annotated[int, QueryParameter(ge=0, le=2**53 - 1, description="How many to pass over")]

#: Seconds a cancel waits for the denoising step under way, so that its answer usually shows the end.
CANCEL_PATIENCE_S = 3.5
#: Seconds between signs of life on a quiet event stream.
HEARTBEAT_S = 15.0


@get("/jobs", responses=errors(422), summary="List jobs, newest first", tags=["jobs"])
async def list_jobs(
    request: Request[Caller, Any, Any],
    database: NamedDependency[Database],
    job_type: Annotated[list[str] | None, QueryParameter(description="May be given more than once")] = None,
    status: Annotated[JobStatus | None, QueryParameter()] = None,
    created_after: Annotated[datetime | None, QueryParameter(description="Exclusive")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> JobPage:
    after = None if created_after is None else as_text(created_after)
    client_id = request.user.client_id
    found = await database.read(
        lambda connection: jobs.page(connection, client_id, job_type or [], status, after, limit, offset)
    )
    return JobPage(found, limit, offset, len(found))


@get("/jobs/{public_id:str}", responses=errors(404), summary="Read a job", tags=["jobs"])
async def read_job(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    database: NamedDependency[Database],
    scheduler: NamedDependency[Scheduler],
    linker: NamedDependency[Linker],
) -> JobView:
    return await _view(request.user, public_id, database, scheduler, linker)


async def _view(caller: Caller, public_id: str, database: Database, scheduler: Scheduler, linker: Linker) -> JobView:
    found = await database.read(lambda connection: jobs.detail(connection, caller.client_id, public_id))
    if found is None:
        raise JobNotFound(public_id)
    return views.job(found, linker, scheduler.position(public_id), scheduler.progress(public_id))


@get(
    "/jobs/{public_id:str}/events",
    responses={
        **errors(404, 422),
        200: ResponseSpec(
            EventPage, generate_examples=False, description="JSON, or text/event-stream if the client accepts it"
        ),
    },
    summary="Follow a job",
    tags=["jobs"],
)
async def read_events(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    database: NamedDependency[Database],
    hub: NamedDependency[EventHub],
    linker: NamedDependency[Linker],
    since: Annotated[int, QueryParameter(ge=0, le=2**53 - 1, description="Exclusive: the last seq already known")] = 0,
    wait: Annotated[float, QueryParameter(ge=0, le=30, description="Seconds to wait for something new")] = 0,
    last_event_id: Annotated[
        int | None, HeaderParameter(name="Last-Event-ID", ge=0, le=2**53 - 1, description="Resumes an event stream")
    ] = None,
) -> Response[Any]:
    """As JSON, or as server-sent events with `Accept: text/event-stream`; a stream ends after the job's last event."""
    client_id = request.user.client_id

    async def read(after: int) -> tuple[EventPage, bool]:
        found = await database.read(lambda connection: jobs.events_since(connection, client_id, public_id, after))
        if found is None:
            raise JobNotFound(public_id)
        return views.event_page(public_id, found, linker), found.ended

    if "text/event-stream" in request.headers.get("Accept", ""):
        await read(since)
        return ServerSentEvent(_stream(hub, public_id, max(since, last_event_id or 0), read))
    page, _ = await follow(
        hub, public_id, lambda: read(since), lambda found: bool(found[0].events) or found[1], patience_s=wait
    )
    return Response(page)


async def _stream(hub: EventHub, public_id: str, since: int, read: Any) -> AsyncIterator[ServerSentEventMessage]:
    with hub.subscribed(public_id) as news:
        while not hub.closing:
            page, ended = await read(since)
            for event in page.events:
                since = event.seq
                yield ServerSentEventMessage(
                    data=msgspec.json.encode(event).decode(), event=event.event_type, id=event.seq
                )
            if ended:
                return
            try:
                await asyncio.wait_for(news.wait(), HEARTBEAT_S)
            except TimeoutError:
                yield ServerSentEventMessage(comment="still here", data=None)
            news.clear()


@post(
    "/jobs/{public_id:str}/cancel",
    status_code=200,
    responses=errors(404, 409, 503),
    summary="Cancel a job and get its credits back",
    tags=["jobs"],
)
async def cancel_job(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    database: NamedDependency[Database],
    scheduler: NamedDependency[Scheduler],
    hub: NamedDependency[EventHub],
    linker: NamedDependency[Linker],
) -> JobView:
    """A waiting job ends at once, a running one at its next denoising step, which the answer waits for a few seconds."""

    async def read() -> JobView:
        return await _view(request.user, public_id, database, scheduler, linker)

    view = await read()
    if view.status.ended or not scheduler.cancel(public_id):
        raise JobNotCancellable(f"Job {public_id} has ended already or is ending, with status {view.status}")
    view = await follow(hub, public_id, read, lambda found: found.status.ended, CANCEL_PATIENCE_S)
    if not view.status.ended and database.locked_since is not None:
        raise Busy(
            "The job is cancelled, but the database is locked by another program: its refund follows when it is not"
        )
    return view
