"""The request log's rows."""

import sqlite3

import msgspec

from server.clock import now


class RequestRow(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    client_id: int | None
    key_id: int | None
    method: str
    route: str
    status: int
    error_code: str | None
    job_id: str | None
    credits: int
    duration_ms: float
    remote: str
    user_agent: str


def insert(connection: sqlite3.Connection, row: RequestRow) -> None:
    """Write a row. If it is there already, for a request that waited for its job, update it with the answer."""
    connection.execute(
        "INSERT INTO request_logs (id, client_id, key_id, method, route, status, error_code, job_id, credits,"
        " duration_ms, remote, user_agent, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET status = excluded.status, error_code = excluded.error_code,"
        " duration_ms = excluded.duration_ms",
        (*msgspec.structs.astuple(row), now()),
    )


def forget_before(connection: sqlite3.Connection, moment: str) -> int:
    """Delete the rows older than `moment` and return how many they were."""
    return connection.execute("DELETE FROM request_logs WHERE created_at < ?", (moment,)).rowcount
