"""The jobs of all clients, as the operator sees them."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from server.clock import Time
from server.jobs import JobStatus, JobType
from server.ledger import events
from server.ledger.rows import read


class JobReport(msgspec.Struct, frozen=True):
    public_id: str
    client: str
    job_type: JobType
    status: JobStatus
    display_name: str
    model: str
    images: int
    credits_cost: int
    #: Credits that were given back.
    refunded: int
    #: Why it failed, as a stable code and in words; null unless it did.
    reason: str | None
    message: str | None
    created_at: Time
    started_at: Time | None
    ended_at: Time | None


_SELECT = (
    "SELECT jobs.public_id, clients.name AS client, job_type, jobs.status,"
    " json_extract(plan, '$.display_name') AS display_name, json_extract(plan, '$.generations[0].model') AS model,"
    " json_array_length(plan, '$.generations') AS images, credits_cost,"
    " coalesce((SELECT amount FROM entries WHERE entries.job_id = jobs.id AND kind = 'refund'), 0) AS refunded,"
    " json_extract(ending.extra, '$.reason') AS reason, ending.message, jobs.created_at, started_at, ended_at"
    " FROM jobs JOIN clients ON clients.id = jobs.client_id"
    " LEFT JOIN events AS ending ON ending.job_id = jobs.id AND ending.event_type = 'failed'"
)


def page(connection: sqlite3.Connection, client: str | None, status: JobStatus | None, limit: int) -> list[JobReport]:
    """Return jobs, newest first: of all clients or of the one of this name, of any status or of this one."""
    rows = connection.execute(
        f"{_SELECT} WHERE (:client IS NULL OR clients.name = :client) AND (:status IS NULL OR jobs.status = :status)"
        " ORDER BY jobs.id DESC LIMIT :limit",
        {"client": client, "status": status, "limit": limit},
    )
    return [read(row, JobReport) for row in rows]


def failures(connection: sqlite3.Connection, limit: int) -> list[JobReport]:
    """Return the jobs that failed last, without those that were cancelled."""
    rows = connection.execute(
        f"{_SELECT} WHERE jobs.status = 'FAILURE' AND json_extract(ending.extra, '$.reason') <> 'cancelled'"
        " ORDER BY ended_at DESC LIMIT ?",
        (limit,),
    )
    return [read(row, JobReport) for row in rows]


def named(connection: sqlite3.Connection, public_ids: Sequence[str]) -> dict[str, JobReport]:
    """Return the jobs with these ids, by id; unknown ids are left out."""
    rows = connection.execute(f"{_SELECT} WHERE jobs.public_id IN ({', '.join('?' * len(public_ids))})", public_ids)
    return {row["public_id"]: read(row, JobReport) for row in rows}


class WholeJob(msgspec.Struct, frozen=True):
    """A job with what was asked and all that happened to it."""

    job: JobReport
    #: The spec with its defaults filled in.
    request: dict[str, Any]
    #: The plan that it was resolved to.
    plan: dict[str, Any]
    events: list[events.EventRow]


def whole(connection: sqlite3.Connection, public_id: str) -> WholeJob | None:
    """Return any client's job; None if there is none of this id."""
    row = connection.execute("SELECT id, request, plan FROM jobs WHERE public_id = ?", (public_id,)).fetchone()
    if row is None:
        return None
    return WholeJob(
        named(connection, [public_id])[public_id],
        msgspec.json.decode(row["request"]),
        msgspec.json.decode(row["plan"]),
        events.since(connection, row["id"], 0),
    )
