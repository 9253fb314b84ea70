"""What the operator's lists show."""

import sqlite3

import msgspec


class ClientRow(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    test: bool
    balance: int
    created_at: str
    #: Keys that are not revoked.
    keys: int
    jobs: int


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    #: The first characters.
    key: str
    client: str
    capabilities: list[str]
    priority: int
    created_at: str
    revoked_at: str | None


class RequestRow(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    created_at: str
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


def clients(connection: sqlite3.Connection) -> list[ClientRow]:
    """Return every client, by name."""
    rows = connection.execute(
        "SELECT name, test, balance, clients.created_at,"
        " (SELECT count(*) FROM keys WHERE client_id = clients.id AND revoked_at IS NULL) AS keys,"
        " (SELECT count(*) FROM jobs WHERE client_id = clients.id) AS jobs FROM clients ORDER BY name"
    )
    return [ClientRow(**{**row, "test": bool(row["test"])}) for row in map(dict, rows)]


def keys(connection: sqlite3.Connection) -> list[KeyRow]:
    """Return every key, the oldest first."""
    rows = connection.execute(
        "SELECT hint AS key, name AS client, capabilities, priority, keys.created_at, revoked_at"
        " FROM keys JOIN clients ON clients.id = client_id ORDER BY keys.id"
    )
    return [KeyRow(**{**row, "capabilities": row["capabilities"].split()}) for row in map(dict, rows)]


def requests(connection: sqlite3.Connection, *, client: str | None, failed: bool, limit: int) -> list[RequestRow]:
    """Return at most `limit` rows of the request log, newest first; with `failed` those of status 400 and above."""
    rows = connection.execute(
        "SELECT request_logs.id, request_logs.created_at, clients.name AS client, method, route, status, error_code,"
        " job_id, credits, duration_ms, remote, user_agent"
        " FROM request_logs LEFT JOIN clients ON clients.id = client_id"
        " WHERE (:client IS NULL OR clients.name = :client) AND (:failed = 0 OR status >= 400)"
        " ORDER BY request_logs.created_at DESC LIMIT :limit",
        {"client": client, "failed": int(failed), "limit": limit},
    )
    return [RequestRow(**row) for row in map(dict, rows)]
