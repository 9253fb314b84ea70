"""Clients, their keys, and the entries that move their credits: grant, charge, refund."""

import sqlite3
from collections.abc import Sequence
from typing import Literal

import msgspec
from ulid import ULID

from server.clock import now

Capability = Literal["jobs:create", "jobs:read", "admin"]


class Caller(msgspec.Struct, frozen=True):
    """Whose key a request carries."""

    client_id: int
    key_id: int
    client_name: str
    capabilities: frozenset[str]
    signing_secret: str | None
    priority: int


class Totals(msgspec.Struct, frozen=True):
    """`balance = granted - spent + refunded`."""

    balance: int
    granted: int
    spent: int
    refunded: int


class NoSuchClient(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no client {name!r}; `backlot clients list` shows them")


class ClientExists(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is a client {name!r} already; choose another name, or grant it credits")


def add_client(connection: sqlite3.Connection, name: str, *, test: bool) -> int:
    """The new client's id. Raises ClientExists."""
    if connection.execute("SELECT 1 FROM clients WHERE name = ?", (name,)).fetchone():
        raise ClientExists(name)
    row = connection.execute(
        "INSERT INTO clients (public_id, name, test, created_at) VALUES (?, ?, ?, ?) RETURNING id",
        (str(ULID()), name, int(test), now()),
    ).fetchone()
    return int(row["id"])


def client_named(connection: sqlite3.Connection, name: str) -> sqlite3.Row:
    """The client's row. Raises NoSuchClient."""
    row: sqlite3.Row | None = connection.execute("SELECT * FROM clients WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NoSuchClient(name)
    return row


def set_signing_secret(connection: sqlite3.Connection, client_id: int, secret: str) -> None:
    """Set the secret by which the client signs its requests."""
    connection.execute("UPDATE clients SET signing_secret = ? WHERE id = ?", (secret, client_id))


def add_key(
    connection: sqlite3.Connection,
    client_id: int,
    digest: bytes,
    hint: str,
    capabilities: Sequence[Capability],
    priority: int,
) -> int:
    row = connection.execute(
        "INSERT INTO keys (client_id, hash, hint, capabilities, priority, created_at) VALUES (?, ?, ?, ?, ?, ?)"
        " RETURNING id",
        (client_id, digest, hint, " ".join(capabilities), priority, now()),
    ).fetchone()
    return int(row["id"])


def caller(connection: sqlite3.Connection, digest: bytes) -> Caller | None:
    """Who holds the key with this digest; None where it is unknown or revoked."""
    row = connection.execute(
        "SELECT keys.id AS key_id, keys.capabilities, keys.priority,"
        " clients.id AS client_id, clients.name, clients.signing_secret"
        " FROM keys JOIN clients ON clients.id = keys.client_id WHERE keys.hash = ? AND keys.revoked_at IS NULL",
        (digest,),
    ).fetchone()
    if row is None:
        return None
    return Caller(
        row["client_id"],
        row["key_id"],
        row["name"],
        frozenset(row["capabilities"].split()),
        row["signing_secret"],
        row["priority"],
    )


def revoke_keys(connection: sqlite3.Connection, which: str) -> int:
    """Revoke the key with this digest's hint, or all keys of the client of this name; how many were revoked."""
    return connection.execute(
        "UPDATE keys SET revoked_at = ? WHERE revoked_at IS NULL"
        " AND (hint = ? OR client_id = (SELECT id FROM clients WHERE name = ?))",
        (now(), which, which),
    ).rowcount


def grant(connection: sqlite3.Connection, client_id: int, credits_: int, label: str = "Credit pack") -> None:
    """`credits_` above 0."""
    if credits_ <= 0:
        raise ValueError(f"a grant of {credits_} credits: it must be above 0")
    _enter(connection, client_id, "grant", credits_, None, label)


def charge(connection: sqlite3.Connection, client_id: int, job_id: int, credits_: int, label: str) -> bool:
    """Take the price of a job; False, and nothing taken, where the balance does not reach.

    Must run in a transaction begun IMMEDIATE, so that the balance read is the balance charged.
    """
    balance = connection.execute("SELECT balance FROM clients WHERE id = ?", (client_id,)).fetchone()["balance"]
    if balance < credits_:
        return False
    _enter(connection, client_id, "charge", -credits_, job_id, label)
    return True


def refund(connection: sqlite3.Connection, job_id: int) -> int:
    """Give back what the job was charged, once: a second call adds nothing. The credits the job has had refunded."""
    row = connection.execute(
        "SELECT client_id, amount, label FROM entries WHERE job_id = ? AND kind = 'charge'", (job_id,)
    ).fetchone()
    if row is None:
        return 0
    refunded = connection.execute("SELECT 1 FROM entries WHERE job_id = ? AND kind = 'refund'", (job_id,)).fetchone()
    if refunded is None:
        _enter(connection, row["client_id"], "refund", -row["amount"], job_id, row["label"])
    return -int(row["amount"])


def totals(connection: sqlite3.Connection, client_id: int) -> Totals:
    row = connection.execute(
        "SELECT balance,"
        " (SELECT coalesce(sum(amount), 0) FROM entries WHERE client_id = clients.id AND kind = 'grant') AS granted,"
        " (SELECT coalesce(-sum(amount), 0) FROM entries WHERE client_id = clients.id AND kind = 'charge') AS spent,"
        " (SELECT coalesce(sum(amount), 0) FROM entries WHERE client_id = clients.id AND kind = 'refund') AS refunded"
        " FROM clients WHERE id = ?",
        (client_id,),
    ).fetchone()
    return Totals(row["balance"], row["granted"], row["spent"], row["refunded"])


class Transaction(msgspec.Struct, frozen=True):
    """A grant, or an operation with its charge net of its refund."""

    id: str
    kind: Literal["operation", "subscription", "pack"]
    label: str
    credits_delta: int
    status: Literal["SUCCESS", "REFUNDED", "PENDING", "FAILED", "PURCHASED"]
    created_at: str


class TransactionPage(msgspec.Struct, frozen=True):
    items: list[Transaction]
    total: int
    limit: int
    offset: int


def transactions(
    connection: sqlite3.Connection, client_id: int, kind: Literal["spend", "purchases"] | None, limit: int, offset: int
) -> TransactionPage:
    """Newest first."""
    kinds = {"spend": ("charge", "charge"), "purchases": ("grant", "grant"), None: ("charge", "grant")}[kind]
    where = (
        "FROM entries LEFT JOIN jobs ON jobs.id = entries.job_id WHERE entries.client_id = ? AND entries.kind IN (?, ?)"
    )
    total = connection.execute(f"SELECT count(*) AS n {where}", (client_id, *kinds)).fetchone()["n"]
    rows = connection.execute(
        "SELECT entries.public_id, entries.kind, entries.label, entries.amount, entries.created_at, jobs.status,"
        " (SELECT amount FROM entries AS back WHERE back.job_id = entries.job_id AND back.kind = 'refund') AS refund"
        f" {where} ORDER BY entries.id DESC LIMIT ? OFFSET ?",
        (client_id, *kinds, limit, offset),
    ).fetchall()
    return TransactionPage([_transaction(row) for row in rows], total, limit, offset)


def _transaction(row: sqlite3.Row) -> Transaction:
    if row["kind"] == "grant":
        return Transaction(row["public_id"], "pack", row["label"], row["amount"], "PURCHASED", row["created_at"])
    delta = row["amount"] + (row["refund"] or 0)
    ended: dict[str, Literal["SUCCESS", "REFUNDED", "PENDING", "FAILED"]] = {"SUCCESS": "SUCCESS", "FAILURE": "FAILED"}
    status = "REFUNDED" if row["refund"] is not None else ended.get(row["status"], "PENDING")
    return Transaction(row["public_id"], "operation", row["label"], delta, status, row["created_at"])


class Day(msgspec.Struct, frozen=True):
    date: str
    jobs: int
    credits: int


class Usage(msgspec.Struct, frozen=True):
    requests: int
    jobs: dict[str, int]
    credits_spent: int
    images: int
    by_day: list[Day]


def usage(connection: sqlite3.Connection, client_id: int, since: str, until: str) -> Usage:
    """What the client used in `since` ≤ time < `until`: its rows of the request log, and the jobs it made then.

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


def _enter(
    connection: sqlite3.Connection, client_id: int, kind: str, amount: int, job_id: int | None, label: str
) -> None:
    connection.execute(
        "INSERT INTO entries (public_id, client_id, kind, amount, job_id, label, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (str(ULID()), client_id, kind, amount, job_id, label, now()),
    )
