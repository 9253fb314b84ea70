"""`GET /v1/events`: what happens to all of a client's jobs."""

from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent

from server.api import views
from server.api.following import LastEventId, Told, Wait, event_page, follow, stream, wants_stream
from server.api.job_reader import JobReader
from server.api.openapi import errors
from server.api.views import ClientEventPage
from server.ledger import events, job_reads
from server.ledger.clients import Caller

#: Events in one answer at most; those that follow are after its `latest_cursor`.
MOST_EVENTS = 1000


@get(
    "/events",
    responses={
        **errors(422),
        200: event_page(ClientEventPage),
    },
    summary="Follow all jobs",
    tags=["jobs"],
)
async def list_events(
    request: Request[Caller, Any, Any],
    reader: NamedDependency[JobReader],
    since: Annotated[
        int,
        QueryParameter(ge=0, le=2**53 - 1, description="Exclusive: the last cursor already known; 0 is the beginning"),
    ] = 0,
    wait: Wait = 0,
    last_event_id: LastEventId = None,
) -> Response[Any]:
    """Return up to 1,000 events as JSON, or send server-sent events, whose ids are the cursors, for ever.

    Cursors ascend, with gaps. They stay the same when the server is restarted.
    """
    client_id = request.user.client_id

    async def read(after: int) -> ClientEventPage:
        found = await reader.database.read(job_reads.events_of_client, client_id, after, MOST_EVENTS)
        return views.client_event_page(found, reader.linker)

    async def read_for_stream(after: int) -> tuple[list[Told], bool]:
        return [Told(event.cursor, event.event_type, event) for event in (await read(after)).events], False

    if wants_stream(request):
        latest = await reader.database.read(events.latest_cursor, client_id)
        # A reader may have seen more than a ledger knows that was put back from a backup: what comes now is new to it.
        after = min(max(since, int(last_event_id or 0)), latest)
        return ServerSentEvent(
            stream(reader.hub, client_id, after, read_for_stream, lambda: reader.may_read(request.user))
        )
    return Response(await follow(reader.hub, client_id, lambda: read(since), lambda page: bool(page.events), wait))


ROUTES = [list_events]
