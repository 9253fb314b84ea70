"""The request log: an ASGI layer outside Litestar that gives every request its ULID and every `/v1` request its row.

A request that makes a job has its row written by the transaction that takes the credits. Every other row is written before
the response's last byte leaves, so that a client that has its answer finds its row.
"""

import logging
import time
from typing import Any

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from server.ledger import request_log as requests
from server.ledger.database import Database

log = logging.getLogger(__name__)


class Record(msgspec.Struct, kw_only=True):
    """What is known of one request so far. Never a secret, never a body."""

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
    #: The client ended the connection before it had its answer.
    client_gone: bool = False
    #: The row is on disk already.
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
    """The record of a request under way."""
    record: Record = scope["backlot.record"]
    return record


class RequestLog:
    """Wraps the whole application, so that even a 404 has an X-Request-Id."""

    def __init__(self, app: ASGIApp, database: Database) -> None:
        self.app = app
        self.database = database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name == b"user-agent"}
        client = scope.get("client")
        record = Record(
            request_id=str(ULID()),
            method=scope["method"],
            route=scope["path"][:200],
            remote=client[0] if client else "",
            user_agent=headers.get(b"user-agent", b"").decode("latin-1")[:200],
            started=time.perf_counter(),
        )
        scope["backlot.record"] = record  # type: ignore[typeddict-unknown-key]
        kept = scope["path"].startswith("/v1/")

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
            # A path that no route has never reached authentication.
            routed = record.error_code != "NOT_FOUND"
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                answered = True
                if kept and routed:
                    await self._write(record)
            await send(message)

        try:
            await self.app(scope, receive_noted, send_logged)
        finally:
            # A stream whose reader left never sends its last part.
            if kept and record.error_code != "NOT_FOUND":
                await self._write(record)

    async def _write(self, record: Record) -> None:
        if record.written:
            return
        record.written = True
        row = record.row()
        try:
            await self.database.write(lambda connection: requests.insert(connection, row))
        except Exception:
            log.exception("The request log could not keep %s", record.request_id)
