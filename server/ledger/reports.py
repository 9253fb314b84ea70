"""Answers what clients and the operator ask of the whole ledger: sums, lists, logs."""

import sqlite3

import msgspec

from server.clock import Date, Time
from server.jobs import JobStatus
from server.ledger.clients import named
from server.ledger.rows import read


class Day(msgspec.Struct, frozen=True):
    date: Date
    jobs: int
    credits: int


class Usage(msgspec.Struct, frozen=True):
    requests: int
    jobs: dict[str, int]
    credits_spent: int
    images: int
    by_day: list[Day]


def usage(connection: sqlite3.Connection, client_id: int, since: str, until: str) -> Usage:
    """Sum up what the client used in `since` ≤ time < `until`: its rows of the request log, and the jobs it made then.

    `credits_spent` and a day's credits are net of refunds.
    """
    span = (client_id, since, until)
    requests = connection.execute(
        "SELECT count(*) AS n FROM request_logs WHERE client_id = ? AND created_at >= ? AND created_at < ?", span
    ).fetchone()["n"]
    statuses = connection.execute(
        "SELECT status, count(*) AS n FROM jobs"
        " WHERE client_id = ? AND created_at >= ? AND created_at < ? GROUP BY status",
        span,
    ).fetchall()
    days = connection.execute(
        "SELECT date, count(*) AS jobs, coalesce(sum(net), 0) AS credits, sum(images) AS images FROM ("
        " SELECT substr(created_at, 1, 10) AS date,"
        " (SELECT -sum(amount) FROM entries WHERE entries.job_id = jobs.id) AS net,"
        " (SELECT count(*) FROM artifacts WHERE artifacts.job_id = jobs.id AND artifacts.role = 'final') AS images"
        " FROM jobs WHERE client_id = ? AND created_at >= ? AND created_at < ?) GROUP BY date ORDER BY date",
        span,
    ).fetchall()
    return Usage(
        requests=requests,
        jobs={row["status"]: row["n"] for row in statuses},
        credits_spent=sum(row["credits"] for row in days),
        images=sum(row["images"] for row in days),
        by_day=[Day(row["date"], row["jobs"], row["credits"]) for row in days],
    )


class ClientReport(msgspec.Struct, frozen=True):
    name: str
    test: bool
    balance: int
    created_at: Time
    #: Since when its keys are refused; null if they are not.
    disabled_at: Time | None
    #: Keys that were not revoked.
    keys: int
    jobs: int


def clients(connection: sqlite3.Connection) -> list[ClientReport]:
    """Return every client, by name."""
    rows = connection.execute(
        "SELECT name, test, balance, clients.created_at, disabled_at,"
        " (SELECT count(*) FROM keys WHERE client_id = clients.id AND revoked_at IS NULL) AS keys,"
        " (SELECT count(*) FROM jobs WHERE client_id = clients.id) AS jobs FROM clients ORDER BY name"
    )
    return [read(row, ClientReport) for row in rows]


class KeyReport(msgspec.Struct, frozen=True):
    #: The key's beginning.
    key: str
    client: str
    #: Its purpose, in the operator's words.
    label: str
    capabilities: list[str]
    priority: int
    created_at: Time
    #: When it expires; null if never.
    expires_at: Time | None
    revoked_at: Time | None


def keys(connection: sqlite3.Connection) -> list[KeyReport]:
    """Return every key, oldest first."""
    rows = connection.execute(
        "SELECT hint, name, label, capabilities, priority, keys.created_at, expires_at, revoked_at"
        " FROM keys JOIN clients ON clients.id = client_id ORDER BY keys.id"
    )
    return [
        KeyReport(hint, client, label, capabilities.split(), *rest) for hint, client, label, capabilities, *rest in rows
    ]


class RequestReport(msgspec.Struct, frozen=True):
    id: str
    created_at: Time
    client: str | None
    #: The beginning of the key it came with.
    key: str | None
    method: str
    route: str
    status: int
    error_code: str | None
    job_id: str | None
    #: The status of the job that it made.
    job_status: JobStatus | None
    #: Why that job failed.
    reason: str | None
    credits: int
    duration_ms: float
    remote: str
    user_agent: str


def requests(
    connection: sqlite3.Connection, client: str | None, *, only_failed: bool, limit: int, offset: int = 0
) -> list[RequestReport]:
    """Return rows of the request log, newest first.

    `only_failed` keeps those of status 400 and above, and those whose job failed; a cancelled job did not fail.
    Raises NoSuchClient.
    """
    client_id = None if client is None else named(connection, client).id
    rows = connection.execute(
        "SELECT request_logs.id, request_logs.created_at, clients.name AS client, keys.hint AS key, method, route,"
        " request_logs.status, error_code, request_logs.job_id, jobs.status AS job_status, CASE jobs.status"
        " WHEN 'FAILURE' THEN (SELECT json_extract(extra, '$.reason') FROM events"
        " WHERE events.job_id = jobs.id AND seq = jobs.last_seq) END AS reason,"
        " credits, duration_ms, remote, user_agent"
        " FROM request_logs LEFT JOIN clients ON clients.id = request_logs.client_id"
        " LEFT JOIN keys ON keys.id = request_logs.key_id"
        " LEFT JOIN jobs ON jobs.public_id = request_logs.job_id"
        " WHERE (:client_id IS NULL OR request_logs.client_id = :client_id)"
        " AND (NOT :only_failed OR request_logs.status >= 400 OR reason <> 'cancelled')"
        " ORDER BY request_logs.created_at DESC LIMIT :limit OFFSET :offset",
        {"client_id": client_id, "only_failed": only_failed, "limit": limit, "offset": offset},
    )
    return [read(row, RequestReport) for row in rows]
