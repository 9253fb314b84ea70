"""The request log: an ASGI layer outside Litestar that gives every request its ULID and every `/v1` request its row.

If a request makes a job or an operator's change, the transaction of that writes its row. Other rows are written in the
background, in order, and no answer waits for them. The reads that the operator's desk makes every few seconds have no row.

A flood may not write without bound: only so many rows wait for the disk, and only the first requests of each minute without
a good key, or above the rate limit, have a row. On a full disk a request that changes nothing has none: the room is kept for
refunds. Requests that have no row for these reasons are counted.
"""

import asyncio
import logging
import time
from functools import partial
from typing import Any

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from server import metrics
from server.api.log_flood import Sampler
from server.keys import without_keys
from server.ledger import request_log as requests
from server.ledger.database import Database

log = logging.getLogger(__name__)

#: Rows that may wait for the disk at once.
MOST_UNWRITTEN = 1000
#: Rows in a minute for requests without a good key, and as many for those above the rate limit.
KEPT_A_MINUTE = 60


class Record(msgspec.Struct, kw_only=True):
    """The facts that are known of one request so far. It never holds a secret or a body."""

    request_id: str
    method: str
    route: str
    remote: str
    user_agent: str
    started: float
    client_id: int | None = None
    key_id: int | None = None
    status: int = 500
    error_code: str | None = None
    job_id: str | None = None
    credits: int = 0
    #: Whether the client ended the connection before it had its answer.
    client_gone: bool = False
    #: Whether its row was written or passed on already, or is left out.
    written: bool = False

    def row(self) -> requests.RequestRow:
        return requests.RequestRow(
            id=self.request_id,
            client_id=self.client_id,
            key_id=self.key_id,
            method=self.method,
            route=self.route,
            status=self.status,
            error_code=self.error_code,
            job_id=self.job_id,
            credits=self.credits,
            duration_ms=round((time.perf_counter() - self.started) * 1000, 3),
            remote=self.remote,
            user_agent=self.user_agent,
        )


def record_of(scope: Any) -> Record:
    """Return the record of a request under way."""
    record: Record = scope["backlot.record"]
    return record


class RequestLog:
    """Wraps the whole application, so that even a 404 has an X-Request-Id."""

    def __init__(self, app: ASGIApp, database: Database) -> None:
        self.app = app
        self.database = database
        self._unwritten = 0
        self._samplers = {
            code: Sampler(KEPT_A_MINUTE, partial(_tell, words))
            for code, words in (("UNAUTHORIZED", "without a good key"), ("RATE_LIMITED", "above the rate limit"))
        }
        self._failures = Sampler(1, partial(log.warning, "%d more rows of the request log could not be written"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name == b"user-agent"}
        client = scope.get("client")
        record = Record(
            request_id=str(ULID()),
            method=scope["method"],
            # Operators often paste a whole key to revoke it.
            route=without_keys(scope["path"])[:200],
            remote=client[0] if client else "",
            user_agent=headers.get(b"user-agent", b"").decode("latin-1")[:200],
            started=time.perf_counter(),
        )
        scope["backlot.record"] = record  # type: ignore[typeddict-unknown-key]
        kept = scope["path"].lstrip("/").startswith("v1/")

        async def receive_noted() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect" and not answered:
                record.client_gone = True
            return message

        answered = False

        async def send_logged(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", record.request_id.encode())]
            # A request for a path that no route has never reached authentication.
            routed = record.error_code != "NOT_FOUND"
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                answered = True
                if kept and routed:
                    self._write(record)
            await send(message)

        try:
            await self.app(scope, receive_noted, send_logged)
        finally:
            # A stream whose reader left never sends its last part.
            if kept and record.error_code != "NOT_FOUND":
                self._write(record)

    def _write(self, record: Record) -> None:
        if record.written or _is_a_look(record):
            return
        record.written = True
        for sampler in self._samplers.values():
            sampler.look()
        flood = self._samplers.get(record.error_code or "")
        if flood is not None and not flood.take():
            metrics.requests_without_row.labels("flood").inc()
            return
        if self._unwritten >= MOST_UNWRITTEN or (_changes_nothing(record) and not self.database.reserve.is_held):
            metrics.requests_without_row.labels("database").inc()
            return
        row = record.row()
        self._unwritten += 1
        written = self.database.submit(requests.insert, row)
        written.add_done_callback(self._written)

    def _written(self, written: "asyncio.Future[None]") -> None:
        self._unwritten -= 1
        error = None if written.cancelled() else written.exception()
        if error is None:
            return
        metrics.requests_without_row.labels("database").inc()
        if self._failures.take():
            log.error("A row of the request log could not be written: %s", error)


def _is_a_look(record: Record) -> bool:
    """Return whether the operator looked at something: the desk does so every few seconds, and its rows would bury others."""
    return record.method in ("GET", "HEAD") and record.route.startswith("/v1/admin/") and record.status < 400


def _changes_nothing(record: Record) -> bool:
    return record.method in ("GET", "HEAD") or record.status >= 400


def _tell(words: str, held_back: int) -> None:
    log.warning("In the last minute %d requests %s were not written to the request log", held_back, words)
