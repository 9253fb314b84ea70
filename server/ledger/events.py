"""The events of jobs. Their numbers ascend from 1 in each job, without gaps; their cursors ascend over all jobs."""

import sqlite3
from typing import Any

import msgspec

from server.clock import Time, now
from server.jobs import EventType
from server.ledger.rows import as_json, read


class EventRow(msgspec.Struct, frozen=True):
    #: Its place among the events of all jobs.
    cursor: int
    seq: int
    event_type: EventType
    stage: str | None
    message: str
    #: Whether the job's artifacts belong to this event.
    with_artifacts: bool
    extra: dict[str, Any]
    created_at: Time


def add(
    connection: sqlite3.Connection,
    public_id: str,
    event_type: EventType,
    message: str,
    *,
    stage: str | None = None,
    extra: dict[str, Any] | None = None,
    with_artifacts: bool = False,
    moment: str | None = None,
) -> None:
    """Append an event of `moment`, or else of now. A late report changes nothing: a job that has ended takes no more."""
    row = connection.execute(
        "UPDATE jobs SET last_seq = last_seq + 1 WHERE public_id = ? AND (ended_at IS NULL OR ?)"
        " RETURNING client_id, id, last_seq",
        (public_id, event_type in (EventType.SUCCEEDED, EventType.FAILED)),
    ).fetchone()
    if row is not None:
        client_id, job_id, seq = row
        insert(connection, client_id, job_id, seq, event_type, message, stage, extra, with_artifacts, moment)


def insert(
    connection: sqlite3.Connection,
    client_id: int,
    job_id: int,
    seq: int,
    event_type: EventType,
    message: str,
    stage: str | None = None,
    extra: dict[str, Any] | None = None,
    with_artifacts: bool = False,
    moment: str | None = None,
) -> None:
    """Write an event whose number the caller has set in the job's row."""
    connection.execute(
        "INSERT INTO events (client_id, job_id, seq, event_type, stage, message, with_artifacts, extra, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            client_id,
            job_id,
            seq,
            event_type,
            stage,
            message,
            int(with_artifacts),
            as_json(extra or {}),
            moment or now(),
        ),
    )


def since(connection: sqlite3.Connection, job_id: int, seq: int) -> list[EventRow]:
    """Return the events after number `seq`, ascending."""
    rows = connection.execute("SELECT * FROM events WHERE job_id = ? AND seq > ? ORDER BY seq", (job_id, seq))
    return [read_event(row) for row in rows]


def latest_cursor(connection: sqlite3.Connection, client_id: int) -> int:
    """Return the cursor of the client's last event; 0 if there is none."""
    row = connection.execute("SELECT max(cursor) AS latest FROM events WHERE client_id = ?", (client_id,)).fetchone()
    return int(row["latest"] or 0)


def latest(connection: sqlite3.Connection, job_id: int) -> EventRow | None:
    row = connection.execute("SELECT * FROM events WHERE job_id = ? ORDER BY seq DESC LIMIT 1", (job_id,)).fetchone()
    return None if row is None else read_event(row)


def read_event(row: sqlite3.Row) -> EventRow:
    return read(row, EventRow, "extra")
