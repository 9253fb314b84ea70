"""Jobs, their events and results. A job's end, its event and its refund are one transaction."""

import sqlite3
from datetime import timedelta
from typing import Any, Literal

import msgspec
from ulid import ULID

from server.clock import ago, now
from server.jobs import Job, JobStatus, Work
from server.ledger import accounts
from server.ledger import request_log as requests

EventType = Literal["queued", "stage", "succeeded", "failed"]
IDEMPOTENCY_SPAN = timedelta(hours=24)

_json = msgspec.json.Encoder()


class Accepted(msgspec.Struct, frozen=True):
    """The 202 of a workflow."""

    request_id: str
    job_id: str
    status: JobStatus
    credits_cost: int


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    client_id: int
    job_type: str
    request: dict[str, Any]
    work: Work
    credits_cost: int
    label: str
    priority: int = 0


class Idempotency(msgspec.Struct, frozen=True):
    key: str
    body_hash: bytes


class BodyDiffers(Exception):
    """The idempotency key was used with another body."""


class BalanceTooLow(Exception):
    def __init__(self, balance: int, cost: int) -> None:
        self.balance = balance
        self.cost = cost
        super().__init__(f"the balance is {balance} credits and this costs {cost}")


def dispatch(
    connection: sqlite3.Connection, new: NewJob, row: requests.RequestRow, idempotency: Idempotency | None
) -> tuple[Accepted, Job | None]:
    """Make the job, take its price and log the request, or none of it. The job is None where this repeats an earlier one.

    Raises BalanceTooLow and BodyDiffers.
    """
    if idempotency is not None and (earlier := repeated(connection, new.client_id, idempotency)) is not None:
        return earlier, None
    public_id = str(ULID())
    moment = now()
    job_id = connection.execute(
        "INSERT INTO jobs"
        " (public_id, client_id, job_type, status, request, work, credits_cost, priority, last_seq, created_at)"
        " VALUES (?, ?, ?, 'NOT_STARTED', ?, ?, ?, ?, 1, ?) RETURNING id",
        (
            public_id,
            new.client_id,
            new.job_type,
            _text(new.request),
            _text(new.work),
            new.credits_cost,
            new.priority,
            moment,
        ),
    ).fetchone()["id"]
    if not accounts.charge(connection, new.client_id, job_id, new.credits_cost, new.label):
        raise BalanceTooLow(accounts.totals(connection, new.client_id).balance, new.credits_cost)
    _insert_event(connection, job_id, 1, "queued", "Waiting for the GPU")
    requests.insert(connection, msgspec.structs.replace(row, status=202, job_id=public_id, credits=new.credits_cost))
    accepted = Accepted(row.id, public_id, "NOT_STARTED", new.credits_cost)
    if idempotency is not None:
        connection.execute(
            "INSERT OR REPLACE INTO idempotency_keys (client_id, key, body_hash, response, created_at)"
            " VALUES (?, ?, ?, ?, ?)",
            (new.client_id, idempotency.key, idempotency.body_hash, _text(accepted), moment),
        )
    return accepted, Job(job_id=public_id, client_id=new.client_id, work=new.work, priority=new.priority)


def repeated(connection: sqlite3.Connection, client_id: int, idempotency: Idempotency) -> Accepted | None:
    """The first answer to this idempotency key within its span. Raises BodyDiffers."""
    row = connection.execute(
        "SELECT body_hash, response FROM idempotency_keys WHERE client_id = ? AND key = ? AND created_at > ?",
        (client_id, idempotency.key, ago(IDEMPOTENCY_SPAN)),
    ).fetchone()
    if row is None:
        return None
    if row["body_hash"] != idempotency.body_hash:
        raise BodyDiffers
    return msgspec.json.decode(row["response"], type=Accepted)


def forget_idempotency_keys(connection: sqlite3.Connection) -> int:
    """Delete the keys whose span is over; how many they were."""
    return connection.execute("DELETE FROM idempotency_keys WHERE created_at <= ?", (ago(IDEMPOTENCY_SPAN),)).rowcount


def unfinished(connection: sqlite3.Connection) -> list[tuple[Job, JobStatus]]:
    """Every job that has not ended, oldest first."""
    rows = connection.execute(
        "SELECT public_id, client_id, work, attempts, priority, status FROM jobs"
        " WHERE status IN ('NOT_STARTED', 'IN_PROGRESS') ORDER BY id"
    ).fetchall()
    return [
        (
            Job(
                job_id=row["public_id"],
                client_id=row["client_id"],
                work=msgspec.json.decode(row["work"], type=Work),
                attempts=row["attempts"],
                priority=row["priority"],
            ),
            row["status"],
        )
        for row in rows
    ]


def start(connection: sqlite3.Connection, job_ids: list[str]) -> None:
    """Count an attempt of each job and mark it IN_PROGRESS."""
    moment = now()
    connection.executemany(
        "UPDATE jobs SET status = 'IN_PROGRESS', attempts = attempts + 1, started_at = coalesce(started_at, ?)"
        " WHERE public_id = ? AND status IN ('NOT_STARTED', 'IN_PROGRESS')",
        [(moment, job_id) for job_id in job_ids],
    )


def put_back(connection: sqlite3.Connection, job_ids: list[str]) -> None:
    """Undo `start`: the server is stopping in good order, and these run again when it is back."""
    connection.executemany(
        "UPDATE jobs SET status = 'NOT_STARTED', attempts = max(attempts - 1, 0)"
        " WHERE public_id = ? AND status = 'IN_PROGRESS'",
        [(job_id,) for job_id in job_ids],
    )
    for job_id in job_ids:
        message = "The server was stopped; this runs again when it is back"
        add_event(connection, job_id, "stage", message, stage="retrying", extra={"reason": "server_stopped"})


def run_again(connection: sqlite3.Connection, job: Job, message: str, extra: dict[str, Any]) -> None:
    """Keep what the next run will use: the attempts counted so far and perhaps another seed."""
    connection.execute(
        "UPDATE jobs SET work = ?, attempts = ? WHERE public_id = ?", (_text(job.work), job.attempts, job.job_id)
    )
    add_event(connection, job.job_id, "stage", message, stage="retrying", extra=extra)


def add_event(
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
    """Append an event of this moment, or else of now. A job that has ended takes no more of them, so a late report changes
    nothing."""
    row = connection.execute(
        "UPDATE jobs SET last_seq = last_seq + 1 WHERE public_id = ? AND (ended_at IS NULL OR ?) RETURNING id, last_seq",
        (public_id, event_type in ("succeeded", "failed")),
    ).fetchone()
    if row is None:
        return
    _insert_event(connection, row["id"], row["last_seq"], event_type, message, stage, extra, with_artifacts, moment)


def _insert_event(
    connection: sqlite3.Connection,
    job_id: int,
    seq: int,
    event_type: EventType,
    message: str,
    stage: str | None = None,
    extra: dict[str, Any] | None = None,
    with_artifacts: bool = False,
    moment: str | None = None,
) -> None:
    connection.execute(
        "INSERT INTO events (job_id, seq, event_type, stage, message, with_artifacts, extra, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (job_id, seq, event_type, stage, message, int(with_artifacts), _text(extra or {}), moment or now()),
    )


class NewImage(msgspec.Struct, frozen=True, kw_only=True):
    """A final image and its place in the catalogue."""

    path: str
    label: str
    description: str
    meta: dict[str, Any]


def succeed(connection: sqlite3.Connection, public_id: str, image: NewImage) -> bool:
    """End the job with its image; False where it had ended already."""
    row = _end(connection, public_id, "SUCCESS")
    if row is None:
        return False
    moment = now()
    artifact = connection.execute(
        "INSERT INTO artifacts (public_id, job_id, path, kind, role, label, meta, created_at)"
        " VALUES (?, ?, ?, 'catalog_image', 'final', ?, ?, ?) RETURNING id",
        (str(ULID()), row["id"], image.path, image.label, _text(image.meta), moment),
    ).fetchone()["id"]
    request = msgspec.json.decode(row["request"])
    spec = {
        "display_name": image.label,
        "scene_type": request["scene_type"],
        "mood": request["mood"],
        "dominant_colors": request["dominant_colors"],
        "metadata": request["metadata"],
    }
    connection.execute(
        "INSERT INTO backgrounds"
        " (public_id, client_id, job_id, artifact_id, status, scene_type, spec, description, created_at)"
        " VALUES (?, ?, ?, ?, 'active', ?, ?, ?, ?)",
        (
            str(ULID()),
            row["client_id"],
            row["id"],
            artifact,
            request["scene_type"],
            _text(spec),
            image.description,
            moment,
        ),
    )
    add_event(connection, public_id, "succeeded", "The background is in the catalogue", with_artifacts=True)
    return True


def fail(
    connection: sqlite3.Connection, public_id: str, reason: str, message: str, extra: dict[str, Any] | None = None
) -> bool:
    """End the job and give its credits back; False, and nothing done, where it had ended already."""
    row = _end(connection, public_id, "FAILURE")
    if row is None:
        return False
    refunded = accounts.refund(connection, row["id"])
    details = {"reason": reason, "refunded": refunded, **(extra or {})}
    add_event(connection, public_id, "failed", message, extra=details)
    return True


def _end(connection: sqlite3.Connection, public_id: str, status: JobStatus) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "UPDATE jobs SET status = ?, ended_at = ? WHERE public_id = ? AND status IN ('NOT_STARTED', 'IN_PROGRESS')"
        " RETURNING id, client_id, request",
        (status, now(), public_id),
    ).fetchone()
    return row


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def listed(
    connection: sqlite3.Connection,
    client_id: int,
    job_types: list[str],
    status: str | None,
    created_after: str | None,
    limit: int,
    offset: int,
) -> list[sqlite3.Row]:
    """Newest first."""
    where, values = ["client_id = ?"], [client_id, *job_types]
    if job_types:
        where.append(f"job_type IN ({', '.join('?' * len(job_types))})")
    for condition, value in (("status = ?", status), ("created_at > ?", created_after)):
        if value is not None:
            where.append(condition)
            values.append(value)
    return connection.execute(
        "SELECT public_id, job_type, status, created_at FROM jobs"
        f" WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ? OFFSET ?",
        (*values, limit, offset),
    ).fetchall()


def one(connection: sqlite3.Connection, client_id: int, public_id: str) -> sqlite3.Row | None:
    """The client's job; None where it is unknown or another client's."""
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM jobs WHERE public_id = ? AND client_id = ?", (public_id, client_id)
    ).fetchone()
    return row


def events(connection: sqlite3.Connection, job_id: int, since: int) -> list[sqlite3.Row]:
    """Those after `since`, ascending."""
    return connection.execute(
        "SELECT * FROM events WHERE job_id = ? AND seq > ? ORDER BY seq", (job_id, since)
    ).fetchall()


def latest_event(connection: sqlite3.Connection, job_id: int) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM events WHERE job_id = ? ORDER BY seq DESC LIMIT 1", (job_id,)
    ).fetchone()
    return row


def artifacts(connection: sqlite3.Connection, job_id: int) -> list[sqlite3.Row]:
    return connection.execute("SELECT * FROM artifacts WHERE job_id = ? ORDER BY id", (job_id,)).fetchall()


def artifact_path(connection: sqlite3.Connection, public_id: str) -> str | None:
    row = connection.execute("SELECT path FROM artifacts WHERE public_id = ?", (public_id,)).fetchone()
    return None if row is None else str(row["path"])


_BACKGROUNDS = (
    "SELECT backgrounds.*, artifacts.public_id AS artifact, jobs.public_id AS job FROM backgrounds"
    " JOIN artifacts ON artifacts.id = backgrounds.artifact_id JOIN jobs ON jobs.id = backgrounds.job_id"
    " WHERE backgrounds.client_id = ?"
)


def backgrounds(
    connection: sqlite3.Connection, client_id: int, scene_type: str | None, status: str | None, limit: int, offset: int
) -> list[sqlite3.Row]:
    """Newest first."""
    return connection.execute(
        f"{_BACKGROUNDS} AND (? IS NULL OR backgrounds.scene_type = ?) AND (? IS NULL OR backgrounds.status = ?)"
        " ORDER BY backgrounds.id DESC LIMIT ? OFFSET ?",
        (client_id, scene_type, scene_type, status, status, limit, offset),
    ).fetchall()


def background(connection: sqlite3.Connection, client_id: int, public_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        f"{_BACKGROUNDS} AND backgrounds.public_id = ?", (client_id, public_id)
    ).fetchone()
    return row


def _text(value: Any) -> str:
    return _json.encode(value).decode()
