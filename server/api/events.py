"""`GET /v1/events`: what happens to all of a client's jobs."""

from typing import Annotated, Any, Literal

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent

from server.api import views
from server.api.following import EVENTS, LastEventId, StreamedEvent, Wait, follow, stream, wants_stream
from server.api.job_reader import JobReader
from server.api.openapi import answer, errors
from server.api.views import ClientEventPage
from server.errors import Invalid
from server.ledger import events, job_reads
from server.ledger.clients import Caller
from server.validation import Problem

MOST_CURSOR = 2**53 - 1
#: Events in one answer at most; the next ones come after its `latest_cursor`.
MOST_EVENTS = 1000


@get(
    "/events",
    responses={**errors(422), 200: answer(ClientEventPage, EVENTS)},
    summary="Follow all jobs",
    tags=["jobs"],
)
async def list_events(
    request: Request[Caller, Any, Any],
    reader: NamedDependency[JobReader],
    since: Annotated[
        int | Literal["latest"],
        QueryParameter(
            description="Exclusive: the last cursor already known; 0 is the beginning, `latest` is now",
            # Litestar declares no bounds for a part of a union.
            schema_extra={
                "oneOf": [
                    {"type": "integer", "minimum": 0, "maximum": MOST_CURSOR},
                    {"type": "string", "const": "latest"},
                ]
            },
        ),
    ] = 0,
    wait: Wait = 0,
    last_event_id: LastEventId = None,
) -> Response[Any]:
    """Return up to 1,000 events as JSON, or send server-sent events, whose ids are the cursors, for ever.

    Cursors ascend, with gaps. They stay the same when the server is restarted.
    """
    client_id = request.user.client_id

    async def latest() -> int:
        return await reader.database.read(events.latest_cursor, client_id)

    begin = await latest() if since == "latest" else _in_bounds(since)

    async def read(after: int) -> ClientEventPage:
        found = await reader.database.read(job_reads.events_of_client, client_id, after, MOST_EVENTS)
        return views.client_event_page(found, reader.linker)

    async def read_for_stream(after: int) -> tuple[list[StreamedEvent], bool]:
        return [StreamedEvent(event.cursor, event.event_type, event) for event in (await read(after)).events], False

    if wants_stream(request):
        # EventSource connects again with the same query: then the last event that it has seen counts, not the latest one.
        first = 0 if since == "latest" and last_event_id else begin
        # A reader may have seen more than a ledger restored from a backup knows: all that comes now is new to it.
        after = min(max(first, int(last_event_id or 0)), await latest())
        return ServerSentEvent(
            stream(reader.hub, client_id, after, read_for_stream, lambda: reader.may_read(request.user))
        )
    return Response(await follow(reader.hub, client_id, lambda: read(begin), lambda page: bool(page.events), wait))


def _in_bounds(cursor: int) -> int:
    """Return the cursor. Raises Invalid if it is out of bounds."""
    if not 0 <= cursor <= MOST_CURSOR:
        message = f"It must be from 0 to {MOST_CURSOR}, or latest"
        raise Invalid([Problem(("query", "since"), "value_error", message, cursor)])
    return cursor


ROUTES = [list_events]
