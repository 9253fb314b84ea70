"""Jobs from their acceptance to their end. A job's end, its event, its refund and its webhook are one transaction."""

import sqlite3
from collections.abc import Collection
from typing import Any

import msgspec

from pipelines.failure_reason import FailureReason
from pipelines.protocol import Stage
from server.clock import now
from server.jobs import EventType, Job, JobStatus, Understood
from server.ledger import catalog, credits, events, request_log, webhooks
from server.ledger.idempotency import Idempotency, first_answer, keep
from server.ledger.rows import as_json, read
from server.ledger.webhooks import WebhookEvent


class Accepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The 202 of a workflow."""

    request_id: str
    job_id: str
    status: JobStatus
    credits_cost: int
    #: Absent if the model has no closed vocabulary.
    understood: Understood | None = None


class BalanceTooLow(Exception):
    def __init__(self, balance: int, cost: int) -> None:
        self.balance = balance
        self.cost = cost
        super().__init__(f"the balance is {balance} credits and this costs {cost}")


def add(
    connection: sqlite3.Connection, job: Job, label: str, row: request_log.RequestRow, idempotency: Idempotency | None
) -> tuple[Accepted, bool]:
    """Make the job, take its price and log the request, or none of it; return the answer, and whether a job was made.

    None is made if this repeats an earlier request, whose answer is returned. `label` is what the client's transactions call
    the job. Raises BalanceTooLow and KeyUsed.
    """
    if idempotency is not None and (earlier := repeated(connection, job.client_id, idempotency)) is not None:
        return earlier, False
    row_id = connection.execute(
        "INSERT INTO jobs"
        " (public_id, client_id, job_type, status, request, plan, credits_cost, priority, awaited, last_seq, created_at)"
        " VALUES (?, ?, ?, 'NOT_STARTED', ?, ?, ?, ?, ?, 1, ?) RETURNING id",
        (
            job.job_id,
            job.client_id,
            job.job_type,
            as_json(job.request),
            as_json(job.plan),
            job.credits_cost,
            job.priority,
            job.awaited,
            now(),
        ),
    ).fetchone()["id"]
    if not credits.charge(connection, job.client_id, row_id, job.credits_cost, label):
        raise BalanceTooLow(credits.balance(connection, job.client_id), job.credits_cost)
    events.insert(connection, job.client_id, row_id, 1, EventType.QUEUED, "Waiting for the GPU")
    request_log.insert(
        connection, msgspec.structs.replace(row, status=202, job_id=job.job_id, credits=job.credits_cost)
    )
    answer = Accepted(row.id, job.job_id, JobStatus.NOT_STARTED, job.credits_cost, job.plan.understood)
    if idempotency is not None:
        keep(connection, job.client_id, idempotency, answer)
    return answer, True


def repeated(connection: sqlite3.Connection, client_id: int, idempotency: Idempotency) -> Accepted | None:
    """Return the first answer to this request of a client; None if there was none. Raises KeyUsed.

    A job that was cancelled because its client went away is no answer: the client that comes back gets another job.
    """
    text = first_answer(connection, client_id, idempotency)
    if text is None:
        return None
    answer = msgspec.json.decode(text, type=Accepted)
    return None if _was_left(connection, answer.job_id) else answer


def _was_left(connection: sqlite3.Connection, public_id: str) -> bool:
    """Return whether a job ended because the client that waited for it went away."""
    row = connection.execute(
        "SELECT 1 FROM jobs JOIN events ON events.job_id = jobs.id AND seq = last_seq"
        " WHERE public_id = ? AND status = 'FAILURE' AND json_extract(extra, '$.client_gone')",
        (public_id,),
    ).fetchone()
    return row is not None


def unfinished(connection: sqlite3.Connection) -> list[tuple[Job, JobStatus]]:
    """Return every job that has not ended, oldest first."""
    rows = connection.execute(
        "SELECT jobs.public_id AS job_id, client_id, job_type, request, plan, attempts, priority, awaited, test,"
        " credits_cost, status"
        " FROM jobs JOIN clients ON clients.id = client_id"
        " WHERE status IN ('NOT_STARTED', 'IN_PROGRESS') ORDER BY jobs.id"
    )
    return [(read(row, Job, "request", "plan"), JobStatus(row["status"])) for row in rows]


def ended(connection: sqlite3.Connection, public_ids: Collection[str]) -> set[str]:
    """Return which of these jobs are in the ledger and have ended."""
    rows = connection.execute(
        "SELECT public_id FROM jobs WHERE ended_at IS NOT NULL AND public_id IN (SELECT value FROM json_each(?))",
        (as_json(list(public_ids)),),
    )
    return {row["public_id"] for row in rows}


def start(connection: sqlite3.Connection, public_id: str, attempts: int) -> None:
    """Mark a job IN_PROGRESS, with the most runs that one of its generations has begun."""
    connection.execute(
        "UPDATE jobs SET status = 'IN_PROGRESS', attempts = ?, started_at = coalesce(started_at, ?)"
        " WHERE public_id = ? AND status IN ('NOT_STARTED', 'IN_PROGRESS')",
        (attempts, now(), public_id),
    )


def leave_for_restart(connection: sqlite3.Connection, public_id: str, attempts: int) -> None:
    """Let a job in progress wait again, with these attempts: the server stops, and the job runs again at the next start."""
    connection.execute(
        "UPDATE jobs SET status = 'NOT_STARTED', attempts = ? WHERE public_id = ? AND status = 'IN_PROGRESS'",
        (attempts, public_id),
    )
    message = "The server was stopped; this runs again when it is back"
    extra = {"reason": FailureReason.SERVER_STOPPED}
    events.add(connection, public_id, EventType.STAGE, message, stage=Stage.RETRYING, extra=extra)


def run_again(connection: sqlite3.Connection, job: Job, message: str, extra: dict[str, Any]) -> None:
    """Keep what the next run uses, the attempts counted so far and perhaps other seeds, and add an event."""
    connection.execute(
        "UPDATE jobs SET plan = ?, attempts = ? WHERE public_id = ?", (as_json(job.plan), job.attempts, job.job_id)
    )
    events.add(connection, job.job_id, EventType.STAGE, message, stage=Stage.RETRYING, extra=extra)


def succeed(connection: sqlite3.Connection, public_id: str, result: catalog.Result) -> bool:
    """End the job with its result; return False, and do nothing, if it had ended already."""
    row = _end(connection, public_id, JobStatus.SUCCESS)
    if row is None:
        return False
    for image in result.images:
        catalog.add(connection, row["client_id"], row["id"], image)
    events.add(connection, public_id, EventType.SUCCEEDED, result.message, with_artifacts=True)
    webhooks.announce(connection, row["id"], WebhookEvent.SUCCEEDED)
    return True


def fail(
    connection: sqlite3.Connection, public_id: str, reason: str, message: str, extra: dict[str, Any] | None = None
) -> bool:
    """End the job and give its credits back; return False, and do nothing, if it had ended already."""
    row = _end(connection, public_id, JobStatus.FAILURE)
    if row is None:
        return False
    refunded = credits.refund(connection, row["id"])
    details = {"reason": reason, "refunded": refunded, **(extra or {})}
    events.add(connection, public_id, EventType.FAILED, message, extra=details)
    webhooks.announce(connection, row["id"], WebhookEvent.FAILED)
    return True


def _end(connection: sqlite3.Connection, public_id: str, status: JobStatus) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "UPDATE jobs SET status = ?, ended_at = ? WHERE public_id = ? AND status IN ('NOT_STARTED', 'IN_PROGRESS')"
        " RETURNING id, client_id",
        (status, now(), public_id),
    ).fetchone()
    return row
