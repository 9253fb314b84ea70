"""Webhooks, one for each client, and the outbox of their deliveries."""

import sqlite3
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from ulid import ULID

from server.clock import Time, ago, now
from server.ledger.rows import as_json, read
from server.operator_error import OperatorError

#: How long a secret that was replaced still signs, so that its receiver can change over without missing anything.
SECRET_OVERLAP = timedelta(hours=24)


class WebhookEvent(StrEnum):
    """The end of a job that a webhook tells of."""

    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"


class DeliveryState(StrEnum):
    #: It is tried until its receiver takes it or its tries are used up.
    PENDING = "pending"
    #: The receiver answered with a 2xx status.
    DELIVERED = "delivered"
    #: It was given up.
    DEAD = "dead"


class DueDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that is to be tried now, and the receiver's address."""

    id: int
    #: The same on every try, so that the receiver can tell a repetition.
    webhook_id: str
    client_id: int
    event: WebhookEvent
    #: The public id of the job that ended.
    job_id: str
    #: When the job ended.
    occurred_at: Time
    #: Tries so far.
    tries: int
    url: str
    #: The newest first.
    secrets: tuple[str, ...]


class WebhookReport(msgspec.Struct, frozen=True):
    client: str
    url: str
    events: list[WebhookEvent]
    set_at: Time
    pending: int
    dead: int


class DeliveryReport(msgspec.Struct, frozen=True):
    id: str
    created_at: Time
    client: str
    event: WebhookEvent
    job_id: str
    state: DeliveryState
    tries: int
    tried_at: Time | None
    #: The HTTP status of the last try; null if there was no answer.
    status: int | None
    error: str | None
    next_try_at: Time | None


class NoWebhook(OperatorError):
    def __init__(self, client: str) -> None:
        super().__init__(f"{client} has no webhook; `backlot webhooks set {client} URL` makes one")


class NoSuchDelivery(OperatorError):
    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"there is no webhook delivery {webhook_id!r}; `backlot webhooks deliveries` shows them")


# ── webhooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def put(connection: sqlite3.Connection, client_id: int, url: str, events: list[WebhookEvent], secret: str) -> None:
    """Give the client this webhook in place of one that it has; pending deliveries go to the new address."""
    moment = now()
    connection.execute(
        "DELETE FROM replaced_secrets WHERE client_id = ? AND replaced_at <= ?", (client_id, ago(SECRET_OVERLAP))
    )
    connection.execute(
        "INSERT INTO replaced_secrets (client_id, secret, replaced_at)"
        " SELECT client_id, secret, ? FROM webhooks WHERE client_id = ?",
        (moment, client_id),
    )
    connection.execute(
        "INSERT INTO webhooks (client_id, url, events, secret, set_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (client_id) DO UPDATE SET url = excluded.url, events = excluded.events, set_at = excluded.set_at,"
        " secret = excluded.secret",
        (client_id, url, as_json(events), secret, moment),
    )


def remove(connection: sqlite3.Connection, client_id: int) -> bool:
    """Remove the client's webhook and give up its pending deliveries; return False if it has no webhook."""
    connection.execute(
        "UPDATE webhook_deliveries SET state = 'dead', due_at = NULL, error = 'the webhook was removed'"
        " WHERE client_id = ? AND state = 'pending'",
        (client_id,),
    )
    return connection.execute("DELETE FROM webhooks WHERE client_id = ?", (client_id,)).rowcount == 1


def all_(connection: sqlite3.Connection) -> list[WebhookReport]:
    """Return every webhook, by its client's name."""
    count = "SELECT count(*) FROM webhook_deliveries WHERE client_id = clients.id AND state ="
    rows = connection.execute(
        f"SELECT name AS client, url, events, set_at, ({count} 'pending') AS pending, ({count} 'dead') AS dead"
        " FROM webhooks JOIN clients ON clients.id = client_id ORDER BY name"
    )
    return [read(row, WebhookReport, "events") for row in rows]


# ── the outbox ───────────────────────────────────────────────────────────────────────────────────────────────────────


def announce(connection: sqlite3.Connection, job: int, event: WebhookEvent) -> None:
    """Put the end of a job, by its row's id, into the outbox if its client has a webhook for this event."""
    moment = now()
    connection.execute(
        "INSERT INTO webhook_deliveries (public_id, client_id, job_id, event, state, due_at, created_at)"
        " SELECT ?, jobs.client_id, jobs.id, ?, 'pending', ?, ?"
        " FROM jobs JOIN webhooks ON webhooks.client_id = jobs.client_id"
        " WHERE jobs.id = ? AND ? IN (SELECT value FROM json_each(webhooks.events))",
        (str(ULID()), event, moment, moment, job, event),
    )


def due(connection: sqlite3.Connection, limit: int) -> list[DueDelivery]:
    """Return at most `limit` deliveries of each client that are due now, those due longest first."""
    moment, overlap = now(), ago(SECRET_OVERLAP)
    found = []
    for webhook in connection.execute("SELECT * FROM webhooks").fetchall():
        replaced = connection.execute(
            "SELECT secret FROM replaced_secrets WHERE client_id = ? AND replaced_at > ? ORDER BY id DESC",
            (webhook["client_id"], overlap),
        )
        # A secret that was set twice signs once.
        secrets = tuple(dict.fromkeys([webhook["secret"], *(row["secret"] for row in replaced)]))
        rows = connection.execute(
            "SELECT webhook_deliveries.id, webhook_deliveries.public_id AS webhook_id, webhook_deliveries.client_id, event,"
            " jobs.public_id AS job_id, webhook_deliveries.created_at AS occurred_at, tries"
            " FROM webhook_deliveries JOIN jobs ON jobs.id = webhook_deliveries.job_id"
            " WHERE webhook_deliveries.client_id = ? AND state = 'pending' AND due_at <= ? ORDER BY due_at LIMIT ?",
            (webhook["client_id"], moment, limit),
        )
        receiver = {"url": webhook["url"], "secrets": secrets}
        found += [msgspec.convert({**row, **receiver}, DueDelivery) for row in rows]
    return found


def pending(connection: sqlite3.Connection) -> int:
    """Return how many deliveries have not ended."""
    row = connection.execute("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'").fetchone()
    return int(row[0])


def note_try(
    connection: sqlite3.Connection, delivery: int, status: int | None, error: str | None, due_at: str | None
) -> DeliveryState:
    """Note what became of a try and return the delivery's state.

    `due_at` is when it is tried again; None ends it: delivered if there is no `error`, else dead.
    """
    ended = DeliveryState.DELIVERED if error is None else DeliveryState.DEAD
    state = ended if due_at is None else DeliveryState.PENDING
    connection.execute(
        "UPDATE webhook_deliveries SET state = ?, tries = tries + 1, tried_at = ?, status = ?, error = ?, due_at = ?"
        " WHERE id = ? AND state = 'pending'",
        (state, now(), status, error, due_at, delivery),
    )
    return state


def resend(connection: sqlite3.Connection, webhook_id: str) -> None:
    """Make a delivery due now, whatever became of it, and count its tries from 0 again.

    Raises NoSuchDelivery, and NoWebhook if its client has none any more.
    """
    row = connection.execute(
        "SELECT webhook_deliveries.id, clients.name, webhooks.client_id AS receiver FROM webhook_deliveries"
        " JOIN clients ON clients.id = webhook_deliveries.client_id"
        " LEFT JOIN webhooks ON webhooks.client_id = webhook_deliveries.client_id"
        " WHERE webhook_deliveries.public_id = ?",
        (webhook_id,),
    ).fetchone()
    if row is None:
        raise NoSuchDelivery(webhook_id)
    if row["receiver"] is None:
        raise NoWebhook(row["name"])
    connection.execute(
        "UPDATE webhook_deliveries SET state = 'pending', tries = 0, due_at = ? WHERE id = ?", (now(), row["id"])
    )


def forget_before(connection: sqlite3.Connection, moment: str) -> int:
    """Delete the deliveries older than `moment` that have ended, and return how many they were."""
    return connection.execute(
        "DELETE FROM webhook_deliveries WHERE created_at < ? AND state != 'pending'", (moment,)
    ).rowcount


def deliveries(
    connection: sqlite3.Connection, client_id: int | None, *, only_failed: bool, limit: int
) -> list[DeliveryReport]:
    """Return deliveries, newest first; failed are the dead ones and those whose last try failed."""
    rows = connection.execute(
        "SELECT webhook_deliveries.public_id AS id, webhook_deliveries.created_at, clients.name AS client, event,"
        " jobs.public_id AS job_id, state, tries, tried_at, webhook_deliveries.status, error, due_at AS next_try_at"
        " FROM webhook_deliveries"
        " JOIN clients ON clients.id = webhook_deliveries.client_id JOIN jobs ON jobs.id = webhook_deliveries.job_id"
        " WHERE (:client IS NULL OR webhook_deliveries.client_id = :client) AND (NOT :only_failed OR error IS NOT NULL)"
        " ORDER BY webhook_deliveries.id DESC LIMIT :limit",
        {"client": client_id, "only_failed": only_failed, "limit": limit},
    )
    return [read(row, DeliveryReport) for row in rows]


# ── a clock that is set back ─────────────────────────────────────────────────────────────────────────────────────────


def seconds_ahead(connection: sqlite3.Connection) -> float:
    """Return how many seconds the last try of a pending delivery, or its job's end, lies in the future; 0 if none does.

    The clock was set back by at least this much since.
    """
    newest = connection.execute(
        "SELECT max(coalesce(tried_at, due_at)) FROM webhook_deliveries WHERE state = 'pending'"
    ).fetchone()[0]
    if newest is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(newest) - datetime.fromisoformat(now())).total_seconds())


def follow_clock(connection: sqlite3.Connection, set_back_s: float) -> None:
    """Move the tries of pending deliveries back with the clock, so that none waits longer."""
    moved = f"-{set_back_s:.3f} seconds"
    connection.execute(
        "UPDATE webhook_deliveries SET due_at = strftime('%Y-%m-%dT%H:%M:%f000Z', due_at, ?1),"
        " tried_at = strftime('%Y-%m-%dT%H:%M:%f000Z', tried_at, ?1) WHERE state = 'pending'",
        (moved,),
    )
