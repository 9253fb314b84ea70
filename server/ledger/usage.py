"""Usage, summed up by client, day and model."""

import sqlite3
from enum import StrEnum

import msgspec

from server.clock import Date
from server.ledger.clients import named
from server.ledger.rows import read


class UsageBy(StrEnum):
    """A property of jobs that usage is summed up by."""

    CLIENT = "client"
    DAY = "day"
    MODEL = "model"


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A sum over accepted jobs; client, day and model are null unless usage is summed up by them."""

    client: str | None
    day: Date | None
    model: str | None
    jobs: int
    succeeded: int
    #: Cancelled jobs do not count as failed.
    failed: int
    cancelled: int
    #: Images of the jobs that succeeded.
    images: int
    #: Credits net of refunds.
    credits_spent: int
    credits_refunded: int


#: Days are in UTC, as in all that this server writes.
_COLUMNS = {
    UsageBy.CLIENT: "clients.name",
    UsageBy.DAY: "substr(jobs.created_at, 1, 10)",
    UsageBy.MODEL: "json_extract(plan, '$.generations[0].model')",
}


def usage_by(
    connection: sqlite3.Connection, by: set[UsageBy], since: str, until: str, client: str | None = None
) -> list[UsageRow]:
    """Sum up the jobs accepted in `since` ≤ time < `until`, of all clients or of the one of this name, newest day first.

    Raises NoSuchClient.
    """
    client_id = None if client is None else named(connection, client).id
    apart = {kind.value: column if kind in by else "NULL" for kind, column in _COLUMNS.items()}
    rows = connection.execute(
        "SELECT client, day, model, count(*) AS jobs, sum(status = 'SUCCESS') AS succeeded,"
        " sum(status = 'FAILURE' AND NOT was_cancelled) AS failed, sum(was_cancelled) AS cancelled,"
        " sum(images) AS images, sum(charged - refunded) AS credits_spent,"
        " sum(refunded) AS credits_refunded FROM ("
        f" SELECT {', '.join(f'{column} AS {name}' for name, column in apart.items())}, jobs.status,"
        " coalesce((SELECT -amount FROM entries WHERE entries.job_id = jobs.id AND kind = 'charge'), 0) AS charged,"
        " coalesce((SELECT amount FROM entries WHERE entries.job_id = jobs.id AND kind = 'refund'), 0) AS refunded,"
        " jobs.status = 'FAILURE' AND (SELECT json_extract(extra, '$.reason') FROM events"
        " WHERE events.job_id = jobs.id AND seq = jobs.last_seq) IS 'cancelled' AS was_cancelled,"
        " (SELECT count(*) FROM artifacts WHERE artifacts.job_id = jobs.id AND role = 'final') AS images"
        " FROM jobs JOIN clients ON clients.id = jobs.client_id"
        " WHERE jobs.created_at >= :since AND jobs.created_at < :until AND (:client_id IS NULL OR client_id = :client_id))"
        " GROUP BY client, day, model ORDER BY day DESC, client, model",
        {"since": since, "until": until, "client_id": client_id},
    )
    return [read(row, UsageRow) for row in rows]
