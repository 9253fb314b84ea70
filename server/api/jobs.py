"""`/v1/jobs`: list, read, follow, cancel."""

from datetime import datetime
from typing import Annotated, Any, Literal

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import ServerSentEvent

from server.api import views
from server.api.cancelling import cancel
from server.api.following import EVENTS, LastEventId, StreamedEvent, Wait, follow, stream, wants_stream
from server.api.job_reader import JobReader
from server.api.metadata import Metadata, metadata_pairs
from server.api.openapi import answer, errors
from server.api.views import EventPage, JobPage, JobView, WholeJobPage
from server.clock import as_text
from server.errors import JobNotFound
from server.jobs import JobStatus
from server.ledger import job_reads
from server.ledger.clients import Caller

#: Jobs on a page at most.
MOST = 200
Limit = Annotated[int, QueryParameter(ge=1, le=MOST, description="How many at most, 1–200")]
Offset = Annotated[int, QueryParameter(ge=0, le=2**53 - 1, description="How many to pass over")]


@get(
    responses={**errors(422), 200: answer(JobPage, "With expand=result, each as GET /v1/jobs/… has it")},
    summary="List jobs, newest first",
)
async def list_jobs(
    request: Request[Caller, Any, Any],
    reader: NamedDependency[JobReader],
    ids: Annotated[
        list[str] | None, QueryParameter(max_items=MOST, description="Only these; may be given up to 200 times")
    ] = None,
    job_type: Annotated[list[str] | None, QueryParameter(description="May be given more than once")] = None,
    status: Annotated[JobStatus | None, QueryParameter()] = None,
    created_after: Annotated[datetime | None, QueryParameter(description="Exclusive")] = None,
    metadata: Metadata = None,
    expand: Annotated[Literal["result"] | None, QueryParameter(description="Whole jobs instead of summaries")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Response[Any]:
    """List the client's jobs. Without a `limit`, a page has room for all the `ids` asked for; unknown ids are left out."""
    if ids and "limit" not in request.query_params:
        limit = MOST
    client_id = request.user.client_id
    only = job_reads.Filter(
        ids=ids or (),
        job_types=job_type or (),
        status=status,
        created_after=None if created_after is None else as_text(created_after),
        metadata=metadata_pairs(metadata),
    )
    if expand is None:
        found, total = await reader.database.read(job_reads.page, client_id, only, limit, offset)
        return Response(JobPage(found, limit, offset, len(found), total))
    whole, total = await reader.database.read(job_reads.page_of_details, client_id, only, limit, offset)
    return Response(WholeJobPage([reader.view(job) for job in whole], limit, offset, len(whole), total))


@get("/{public_id:str}", responses=errors(404, 422), summary="Read a job")
async def read_job(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    reader: NamedDependency[JobReader],
    wait: Annotated[float, QueryParameter(ge=0, le=60, description="Seconds to wait for the job's end")] = 0,
) -> JobView:
    """Return the job as it is now; with `wait`, as it is when it has ended or the time is up."""
    return reader.view(await reader.detail_when_ended(request.user, public_id, patience_s=wait))


@get(
    "/{public_id:str}/events",
    responses={**errors(404, 422), 200: answer(EventPage, EVENTS)},
    summary="Follow a job",
)
async def read_events(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    reader: NamedDependency[JobReader],
    since: Annotated[int, QueryParameter(ge=0, le=2**53 - 1, description="Exclusive: the last seq already known")] = 0,
    wait: Wait = 0,
    last_event_id: LastEventId = None,
) -> Response[Any]:
    """Return the events as JSON, or send them with `Accept: text/event-stream`; a stream ends after the job's last event."""

    async def read(after: int) -> tuple[EventPage, bool]:
        found = await reader.database.read(job_reads.events_since, request.user.client_id, public_id, after)
        if found is None:
            raise JobNotFound(public_id)
        return views.event_page(public_id, found, reader.linker), found.ended

    async def read_for_stream(after: int) -> tuple[list[StreamedEvent], bool]:
        page, ended = await read(after)
        return [StreamedEvent(event.seq, event.event_type, event) for event in page.events], ended

    if wants_stream(request):
        await read(since)
        after = max(since, int(last_event_id or 0))
        return ServerSentEvent(
            stream(reader.hub, public_id, after, read_for_stream, lambda: reader.may_read(request.user))
        )
    page, _ = await follow(
        reader.hub, public_id, lambda: read(since), lambda found: bool(found[0].events) or found[1], patience_s=wait
    )
    return Response(page)


@post(
    "/{public_id:str}/cancel",
    status_code=200,
    responses=errors(404, 409, 503),
    summary="Cancel a job and get its credits back",
)
async def cancel_job(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    reader: NamedDependency[JobReader],
) -> JobView:
    """End a waiting job at once, and a running one at its next denoising step. The answer waits a few seconds for that."""
    # This raises JobNotFound for the job of another client.
    await reader.detail(request.user, public_id)
    await cancel(reader.scheduler, reader.database, reader.hub, public_id)
    return reader.view(await reader.detail(request.user, public_id))


ROUTER = Router("/jobs", tags=["jobs"], route_handlers=[list_jobs, read_job, read_events, cancel_job])
