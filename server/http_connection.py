"""One HTTP connection: a client that breaks HTTP is answered in the error envelope, and none may take for ever.

uvicorn parses the requests and runs the application. This class bounds what happens before the application sees a
request: how many connections there are, how long a request's head and its body may take, and how large they may be.
"""

import asyncio
import resource
from enum import Enum
from http import HTTPStatus
from typing import NoReturn

import httptools
import msgspec
from ulid import ULID
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server import metrics
from server.errors import (
    ApiError,
    BadRequest,
    ErrorBody,
    ErrorEnvelope,
    HeadersTooLarge,
    RequestTimeout,
    TooManyConnections,
)

#: Files for the database, its readers, images on their way, webhooks and GPU processes.
RESERVED_FILES = 256
#: Connections at least, even if the operating system allows next to no files.
LEAST_CONNECTIONS = 16


class Arriving(Enum):
    """The part of a request that is arriving, in words for its client."""

    HEAD = "headers"
    BODY = "body"


class Connection(HttpToolsProtocol):
    #: Seconds from the first byte of a request to the end of its headers.
    head_s = 15.0
    #: Seconds from the end of the headers to the end of the body.
    body_s = 60.0
    #: Seconds that a client may take nothing of an answer that waits for it.
    take_s = 60.0
    #: Bytes of the request line and the headers together.
    most_head_bytes = 64 * 1024
    #: Bytes of a whole request. The application refuses far smaller ones; the server reads the rest up to here and throws it
    #: away, so that a client that sends everything before it reads finds the refusal.
    most_bytes = 8 * 1024 * 1024
    #: Connections that may be open at once: more than a studio ever has, and each costs some kilobytes. Above it the one that
    #: has been idle longest is closed; if none is idle, the new one is refused.
    most_connections = 8192

    _arriving: Arriving | None = None
    #: The part whose time `_limit` limits; None if no limit runs.
    _limited: Arriving | None = None
    _limit: asyncio.TimerHandle | None = None
    #: The timer that looks whether the client takes its answer; None if all of it is taken.
    _look: asyncio.TimerHandle | None = None
    _broken: ApiError | None = None
    #: How many requests began in the bytes that were read last.
    _begun = 0
    #: The request before the present one.
    _earlier: RequestResponseCycle | None = None
    _bytes = 0
    _head_bytes = 0
    #: When the last answer ended, or else when the connection was made.
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        if len(self.connections) > self.most_connections and not self._make_room():
            self._refuse(
                TooManyConnections(f"{self.most_connections} connections are busy, which is all there is room for")
            )
            return
        # A client that never sends anything counts as one that keeps its connection alive.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lift_limit()
        self._watch_no_more()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_taking()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch_no_more()

    def timeout_keep_alive_handler(self) -> None:
        # This closes the connection once the last answer is taken.
        super().timeout_keep_alive_handler()
        if self._look is None:
            self._watch_taking()

    def _watch_taking(self) -> None:
        """Set a timer that gives up the connection if the client takes nothing more of its answer."""
        self._watch_no_more()
        waiting = self.transport.get_write_buffer_size()
        self._look = self.loop.call_later(self.take_s, self._look_again, waiting)

    def _look_again(self, before: int) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting >= before > 0:
            self.transport.abort()
        elif waiting:
            self._watch_taking()

    def _watch_no_more(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest, and return whether there was one."""
        others = [other for other in self.connections if isinstance(other, Connection) and other.is_idle]
        oldest = min(
            (other for other in others if other is not self), key=lambda other: other._idle_since, default=None
        )
        if oldest is None:
            return False
        # It counts as closed from now on, even if its client has still to take the end of an answer.
        self.connections.discard(oldest)
        oldest.transport.close()
        return True

    @property
    def is_idle(self) -> bool:
        """Return whether no request is arriving or being answered."""
        return self._arriving is not Arriving.HEAD and (self.cycle is None or self.cycle.response_complete)

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()
        self._limit_the_rest()

    def data_received(self, data: bytes) -> None:
        # The base class's method would log a line for each client that breaks HTTP, and answer in plain text.
        of_an_earlier_read = self._arriving is not None
        self._begun = 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request is answered as if it had not asked for another protocol, which HTTP allows.
            pass
        except httptools.HttpParserError:
            self._refuse(self._broken or BadRequest("This is not HTTP/1.1 as RFC 9112 has it"))
            return
        self._limit_the_rest()
        # If a request began behind another one in this read, its share of the bytes is unknown, and nothing is counted.
        is_behind = self._begun + of_an_earlier_read > 1
        self._bytes = 0 if is_behind else self._bytes + len(data)
        if self._arriving is Arriving.HEAD and self._bytes > self.most_head_bytes:
            self._refuse(self._head_too_large())
        elif self._bytes > self.most_bytes:
            self.transport.close()

    # ── what the parser calls ────────────────────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # Only a request stops the keep-alive timer, not an empty line or the rest of an answered request.
        self._unset_keepalive_if_required()
        self._lift_limit()
        self._begun += 1
        self._arriving = Arriving.HEAD
        self._bytes = self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._arriving is not Arriving.HEAD:
            # This is a trailer of a chunked body, which may not pass for a header.
            return
        self._count(len(name) + len(b": ") + len(value) + len(b"\r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        upgrading = self.parser.should_upgrade()
        if upgrading and any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers):
            # The parser takes the body for the other protocol.
            self._break(BadRequest("This server speaks HTTP/1.1 alone: send a body without the Upgrade header"))
        self._unset_keepalive_if_required()
        self._earlier = self.cycle
        super().on_headers_complete()
        self._arriving = Arriving.BODY
        if upgrading:
            # The parser takes all that follows for the other protocol, so nothing more can be asked on this connection.
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._arriving = None

    # ── refusing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.most_head_bytes:
            self._break(self._head_too_large())

    def _head_too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"The request line and the headers are above {self.most_head_bytes // 1024} KiB")

    def _break(self, error: ApiError) -> NoReturn:
        """Stop the parser, which raises an error of its own in place of this one."""
        self._broken = error
        raise error

    def _limit_the_rest(self) -> None:
        """Limit the time of the part that has still to arrive. A request that came whole, as most do, needs no timer."""
        if self.pipeline or self._arriving is self._limited:
            # Bytes behind a request that is being answered are not read yet.
            return
        self._lift_limit()
        if self._arriving is not None:
            self._limit = self.loop.call_later(self._seconds(self._arriving), self._expired, self._arriving)
            self._limited = self._arriving

    def _lift_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        self._limit = self._limited = None

    def _seconds(self, part: Arriving) -> float:
        return self.head_s if part is Arriving.HEAD else self.body_s

    def _expired(self, part: Arriving) -> None:
        self._refuse(RequestTimeout(f"The {part.value} of the request took more than {self._seconds(part):g} s"))

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error and close. An answer that is under way goes first, and is then the last."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.more_body and self.pipeline and self._earlier is not None:
                # The refused request waited behind another, and is dropped. The other goes on.
                self.pipeline.popleft()
                self.cycle = cycle = self._earlier
            if not cycle.more_body:
                # The cycle answers an earlier request, which came whole.
                cycle.keep_alive = False
                self.flow.pause_reading()
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
        metrics.refused_requests.labels(error.code).inc()
        request_id = str(ULID())
        body = msgspec.json.encode(ErrorEnvelope(ErrorBody(error.code, str(error), request_id)))
        headers = "".join(f"{name}: {value}\r\n" for name, value in error.headers.items())
        self.transport.write(
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
            f"x-request-id: {request_id}\r\n{headers}\r\n".encode()
            + body
        )
        self.transport.close()


def connection_limit() -> int:
    """Raise this process's limit on open files as far as it may go, and return how many connections that has room for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return Connection.most_connections
    return max(LEAST_CONNECTIONS, min(Connection.most_connections, hard - RESERVED_FILES))
