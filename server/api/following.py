"""Waiting for news of a job, or of all jobs of a client, on behalf of a request."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import ServerSentEventMessage

from server.event_hub import EventHub, Topic
from server.validation import DIGITS

T = TypeVar("T")

#: Seconds between signs of life on a quiet event stream.
HEARTBEAT_S = 15.0
#: Seconds that a stream lets news gather before it reads again.
GATHER_S = 0.05


Wait = Annotated[float, QueryParameter(ge=0, le=30, description="Seconds to wait for something new")]
LastEventId = Annotated[
    str | None, HeaderParameter(name="Last-Event-ID", pattern=DIGITS, description="Resumes an event stream")
]


#: What a route of events answers with.
EVENTS = "JSON, or text/event-stream if the client accepts it"


class StreamedEvent(msgspec.Struct, frozen=True):
    """An event for a stream: its id there, its kind and its data."""

    id: int
    kind: str
    data: msgspec.Struct


def wants_stream(request: Request[Any, Any, Any]) -> bool:
    """Return whether the client accepts server-sent events."""
    return "text/event-stream" in request.headers.get("Accept", "")


async def follow(
    hub: EventHub, topic: Topic, read: Callable[[], Awaitable[T]], enough: Callable[[T], bool], patience_s: float
) -> T:
    """Read until what was read is enough, the time is up or the server stops; return what was read last.

    Each read but the first comes after news of the topic.
    """
    deadline = time.monotonic() + patience_s
    # Subscribe before the first read, so that nothing falls between the two.
    with hub.subscribed(topic) as news:
        found = await read()
        while not enough(found) and not hub.closing and (left := deadline - time.monotonic()) > 0:
            with suppress(TimeoutError):
                # In Python 3.11, wait_for may swallow a cancel that comes together with the news.
                async with asyncio.timeout(left):
                    await news.wait()
            news.clear()
            found = await read()
    return found


async def stream(
    hub: EventHub,
    topic: Topic,
    since: int,
    read: Callable[[int], Awaitable[tuple[Sequence[StreamedEvent], bool]]],
    may_read: Callable[[], bool],
) -> AsyncIterator[ServerSentEventMessage]:
    """Yield the events that `read` has after an id, then new ones, until the last has come or the server stops.

    Once its reader may read no more, a stream ends within HEARTBEAT_S.
    """
    # Subscribe before the first read, so that nothing falls between the two.
    with hub.subscribed(topic) as news:
        while not hub.closing and may_read():
            told, ended = await read(since)
            for event in told:
                since = event.id
                yield ServerSentEventMessage(
                    data=msgspec.json.encode(event.data).decode(), event=event.kind, id=event.id
                )
            if ended:
                return
            if not told:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await news.wait()
                except TimeoutError:
                    yield ServerSentEventMessage(comment="still here", data=None)
            # After a read that returned events there may be more, without news.
            await asyncio.sleep(GATHER_S)
            news.clear()
