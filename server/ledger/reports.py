"""What clients and the operator ask of the whole ledger: sums, lists, logs."""

import sqlite3

import msgspec

from server.clock import Date, Time


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
    #: Keys that were not revoked.
    keys: int
    jobs: int


def clients(connection: sqlite3.Connection) -> list[ClientReport]:
    """Return every client, by name."""
    rows = connection.execute(
        "SELECT name, test, balance, clients.created_at,"
        " (SELECT count(*) FROM keys WHERE client_id = clients.id AND revoked_at IS NULL) AS keys,"
        " (SELECT count(*) FROM jobs WHERE client_id = clients.id) AS jobs FROM clients ORDER BY name"
    )
    return [
        ClientReport(row["name"], bool(row["test"]), row["balance"], row["created_at"], row["keys"], row["jobs"])
        for row in rows
    ]


class KeyReport(msgspec.Struct, frozen=True):
    #: The key's beginning.
    key: str
    client: str
    capabilities: list[str]
    priority: int
    created_at: Time
    revoked_at: Time | None


def keys(connection: sqlite3.Connection) -> list[KeyReport]:
    """Return every key, oldest first."""
    rows = connection.execute(
        "SELECT hint, name, capabilities, priority, keys.created_at, revoked_at"
        " FROM keys JOIN clients ON clients.id = client_id ORDER BY keys.id"
    )
    return [
        KeyReport(
            row["hint"], row["name"], row["capabilities"].split(), row["priority"], row["created_at"], row["revoked_at"]
        )
        for row in rows
    ]


class RequestReport(msgspec.Struct, frozen=True):
    id: str
    created_at: Time
    client: str | None
    method: str
    route: str
    status: int
    error_code: str | None
    job_id: str | None
    credits: int
    duration_ms: float
    remote: str
    user_agent: str


def requests(
    connection: sqlite3.Connection, client: str | None, *, only_failed: bool, limit: int
) -> list[RequestReport]:
    """Return rows of the request log, newest first; failed are those of status 400 and above."""
    rows = connection.execute(
        "SELECT request_logs.id, request_logs.created_at, clients.name AS client, method, route, status, error_code,"
        " job_id, credits, duration_ms, remote, user_agent"
        " FROM request_logs LEFT JOIN clients ON clients.id = client_id"
        " WHERE (:client IS NULL OR clients.name = :client) AND (NOT :only_failed OR status >= 400)"
        " ORDER BY request_logs.created_at DESC LIMIT :limit",
        {"client": client, "only_failed": only_failed, "limit": limit},
    )
    return [RequestReport(*row) for row in rows]
