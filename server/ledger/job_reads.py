"""Jobs and their events, as their clients read them."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from server.clock import Time
from server.jobs import JobStatus, JobType
from server.ledger import artifacts, events
from server.ledger.artifacts import ArtifactRow
from server.ledger.metadata import has_metadata
from server.ledger.rows import read


class JobSummary(msgspec.Struct, frozen=True):
    public_id: str
    job_type: JobType
    status: JobStatus
    created_at: Time


class JobDetail(msgspec.Struct, frozen=True):
    summary: JobSummary
    request: dict[str, Any]
    artifacts: list[ArtifactRow]
    latest_event: events.EventRow | None


class EventsSince(msgspec.Struct, frozen=True):
    """The events of a job after a number, as of one moment."""

    events: list[events.EventRow]
    artifacts: list[ArtifactRow]
    latest_seq: int
    ended: bool


class ClientEventRow(msgspec.Struct, frozen=True):
    job: str
    #: Whether the job has ended.
    ended: bool
    event: events.EventRow
    #: The job's artifacts, if they belong to this event.
    artifacts: list[ArtifactRow]


class ClientEvents(msgspec.Struct, frozen=True):
    """Events of all of a client's jobs after a cursor, as of one moment."""

    events: list[ClientEventRow]
    #: The last one's cursor; if there is none, that of the client's latest event.
    latest_cursor: int


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects the jobs to list for a client; fields that are empty or None do not matter."""

    ids: Sequence[str] = ()
    job_types: Sequence[str] = ()
    status: JobStatus | None = None
    created_after: str | None = None
    #: Keys of the metadata with their values: each must be there. Numbers and truth values are as JSON writes them.
    metadata: Sequence[tuple[str, str]] = ()


def page(
    connection: sqlite3.Connection, client_id: int, only: Filter, limit: int, offset: int
) -> tuple[list[JobSummary], int]:
    """Return a page of a client's jobs, newest first, and how many there are on all pages."""
    conditions: list[str] = ["client_id = ?"]
    values: list[Any] = [client_id]
    for column, choices in (("public_id", only.ids), ("job_type", only.job_types)):
        if choices:
            conditions.append(f"{column} IN ({', '.join('?' * len(choices))})")
            values.extend(choices)
    for condition, value in (("status = ?", only.status), ("created_at > ?", only.created_after)):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    for key, value in only.metadata:
        conditions.append(has_metadata("jobs.request"))
        values += [key, value]
    where = " AND ".join(conditions)
    rows = connection.execute(
        f"SELECT public_id, job_type, status, created_at FROM jobs WHERE {where} ORDER BY id DESC LIMIT ? OFFSET ?",
        (*values, limit, offset),
    )
    total = connection.execute(f"SELECT count(*) AS n FROM jobs WHERE {where}", values).fetchone()["n"]
    return [read(row, JobSummary) for row in rows], int(total)


def page_of_details(
    connection: sqlite3.Connection, client_id: int, only: Filter, limit: int, offset: int
) -> tuple[list[JobDetail], int]:
    """Return the page that `page` returns, with whole jobs."""
    summaries, total = page(connection, client_id, only, limit, offset)
    found = [detail(connection, client_id, summary.public_id) for summary in summaries]
    return [job for job in found if job is not None], total


def events_of_client(connection: sqlite3.Connection, client_id: int, cursor: int, limit: int) -> ClientEvents:
    """Return the first `limit` events of the client's jobs after `cursor`."""
    rows = connection.execute(
        "SELECT events.*, jobs.public_id, jobs.ended_at FROM events JOIN jobs ON jobs.id = job_id"
        " WHERE events.client_id = ? AND cursor > ? ORDER BY cursor LIMIT ?",
        (client_id, cursor, limit),
    )
    found = []
    for row in rows:
        made = artifacts.of_job(connection, row["job_id"]) if row["with_artifacts"] else []
        found.append(ClientEventRow(row["public_id"], row["ended_at"] is not None, events.read_event(row), made))
    latest = found[-1].event.cursor if found else events.latest_cursor(connection, client_id)
    return ClientEvents(found, latest)


def detail(connection: sqlite3.Connection, client_id: int, public_id: str) -> JobDetail | None:
    """Return the client's job with its results; None if it is unknown or another client's."""
    row = _row(connection, client_id, public_id)
    if row is None:
        return None
    return JobDetail(
        read(row, JobSummary),
        msgspec.json.decode(row["request"]),
        artifacts.of_job(connection, row["id"]),
        events.latest(connection, row["id"]),
    )


def events_since(connection: sqlite3.Connection, client_id: int, public_id: str, seq: int) -> EventsSince | None:
    """Return the events of the client's job after number `seq`; None if the job is unknown or another client's."""
    row = _row(connection, client_id, public_id)
    if row is None:
        return None
    found = events.since(connection, row["id"], seq)
    made = artifacts.of_job(connection, row["id"]) if any(event.with_artifacts for event in found) else []
    return EventsSince(found, made, row["last_seq"], row["ended_at"] is not None)


def _row(connection: sqlite3.Connection, client_id: int, public_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM jobs WHERE public_id = ? AND client_id = ?", (public_id, client_id)
    ).fetchone()
    return row
