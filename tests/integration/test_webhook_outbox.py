"""The outbox of webhooks on a real SQLite file: every end is told once, and to its own client alone."""

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlite_utils

from server.clock import ago, later, now
from server.ledger import clients, jobs, webhooks
from server.ledger.catalog import Result
from server.ledger.connection import connect, migrate, transaction
from server.ledger.migrations import migrations
from server.ledger.webhooks import DeliveryState, NoSuchDelivery, NoWebhook, WebhookEvent
from tests.support.ledger import accepted_job, ended_job

BOTH = list(WebhookEvent)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    migrate(tmp_path / "backlot.db")
    opened = connect(tmp_path / "backlot.db")
    yield opened
    opened.close()


@pytest.fixture
def client_id(connection: sqlite3.Connection) -> int:
    return clients.add(connection, "studio", test=False)


def states(connection: sqlite3.Connection) -> dict[str, DeliveryState]:
    return {row.job_id: row.state for row in webhooks.deliveries(connection, None, only_failed=False, limit=1000)}


def test_an_end_and_its_delivery_are_one_transaction(connection: sqlite3.Connection, client_id: int) -> None:
    webhooks.put(connection, client_id, "http://a/", BOTH, "whsec_a")
    job_id = accepted_job(connection, client_id)
    with pytest.raises(ZeroDivisionError), transaction(connection):
        jobs.succeed(connection, job_id, Result([], "done"))
        1 / 0  # noqa: B018
    assert states(connection) == {}
    assert jobs.fail(connection, job_id, "cancelled", "m")
    assert not jobs.fail(connection, job_id, "cancelled", "m")
    assert not jobs.succeed(connection, job_id, Result([], "done"))
    [due] = webhooks.due(connection, 10)
    assert (due.job_id, due.event, due.tries, due.url, due.secrets) == (
        job_id,
        "job.failed",
        0,
        "http://a/",
        ("whsec_a",),
    )


def test_each_end_goes_to_its_own_client_if_it_asked_for_it(connection: sqlite3.Connection, client_id: int) -> None:
    other, silent = (clients.add(connection, name, test=False) for name in ("other", "silent"))
    webhooks.put(connection, client_id, "http://a/", BOTH, "whsec_a")
    webhooks.put(connection, other, "http://b/", [WebhookEvent.FAILED], "whsec_b")
    good, bad = ended_job(connection, client_id), ended_job(connection, client_id, success=False)
    ended_job(connection, other)
    others_bad = ended_job(connection, other, success=False)
    ended_job(connection, silent, success=False)
    found = {(due.job_id, due.client_id, due.url, due.event) for due in webhooks.due(connection, 10)}
    assert found == {
        (good, client_id, "http://a/", "job.succeeded"),
        (bad, client_id, "http://a/", "job.failed"),
        (others_bad, other, "http://b/", "job.failed"),
    }


def test_the_longest_due_go_first_and_each_client_has_its_limit(connection: sqlite3.Connection, client_id: int) -> None:
    other = clients.add(connection, "other", test=False)
    for each in (client_id, other):
        webhooks.put(connection, each, "http://a/", BOTH, "whsec_a")
    ended = [ended_job(connection, client_id) for _ in range(5)]
    last = ended_job(connection, other)
    assert [due.job_id for due in webhooks.due(connection, 3)] == [*ended[:3], last]


def test_a_try_that_failed_waits_and_the_last_one_is_final(connection: sqlite3.Connection, client_id: int) -> None:
    webhooks.put(connection, client_id, "http://a/", BOTH, "whsec_a")
    job_id = ended_job(connection, client_id)
    [due] = webhooks.due(connection, 1)
    assert webhooks.note_try(connection, due.id, 500, "answered 500", later(timedelta(hours=1))) == "pending"
    assert webhooks.due(connection, 1) == []
    assert webhooks.note_try(connection, due.id, None, "no answer", ago(timedelta(seconds=1))) == "pending"
    assert webhooks.due(connection, 1)[0].tries == 2
    assert webhooks.note_try(connection, due.id, 500, "answered 500", None) == "dead"
    assert (webhooks.due(connection, 1), webhooks.pending(connection)) == ([], 0)
    [row] = webhooks.deliveries(connection, client_id, only_failed=True, limit=1)
    assert (row.job_id, row.state, row.tries, row.status, row.error, row.next_try_at) == (
        job_id,
        "dead",
        3,
        500,
        "answered 500",
        None,
    )

    webhooks.resend(connection, due.webhook_id)
    [again] = webhooks.due(connection, 1)
    assert (again.webhook_id, again.tries) == (due.webhook_id, 0)
    assert webhooks.note_try(connection, due.id, 204, None, None) == "delivered"
    assert webhooks.deliveries(connection, None, only_failed=True, limit=1) == []


def test_resending_what_cannot_be_sent(connection: sqlite3.Connection, client_id: int) -> None:
    with pytest.raises(NoSuchDelivery, match="no webhook delivery 'x'"):
        webhooks.resend(connection, "x")
    webhooks.put(connection, client_id, "http://a/", BOTH, "whsec_a")
    ended_job(connection, client_id)
    [due] = webhooks.due(connection, 1)
    assert webhooks.remove(connection, client_id)
    assert not webhooks.remove(connection, client_id)
    assert set(states(connection).values()) == {"dead"}
    with pytest.raises(NoWebhook, match="studio has no webhook"):
        webhooks.resend(connection, due.webhook_id)


def test_each_old_secret_signs_for_a_day(connection: sqlite3.Connection, client_id: int) -> None:
    def put(secret: str) -> None:
        webhooks.put(connection, client_id, "http://a/", BOTH, secret)

    def secrets() -> tuple[str, ...]:
        return webhooks.due(connection, 1)[0].secrets

    put("whsec_a")
    ended_job(connection, client_id)
    put("whsec_b")
    put("whsec_b")
    assert secrets() == ("whsec_b", "whsec_a")
    put("whsec_c")
    assert secrets() == ("whsec_c", "whsec_b", "whsec_a")
    connection.execute(
        "UPDATE replaced_secrets SET replaced_at = ? WHERE secret = 'whsec_a'", (ago(timedelta(hours=25)),)
    )
    assert secrets() == ("whsec_c", "whsec_b")
    assert webhooks.remove(connection, client_id)
    put("whsec_d")
    assert connection.execute("SELECT count(*) FROM replaced_secrets").fetchone()[0] == 0


def test_a_secret_that_an_older_version_replaced_still_signs(tmp_path: Path) -> None:
    connection = connect(tmp_path / "older.db")
    migrations.apply(sqlite_utils.Database(connection), stop_before="m010_webhook_secrets")
    client = clients.add(connection, "studio", test=False)
    connection.execute(
        "INSERT INTO webhooks (client_id, url, events, secret, previous_secret, set_at)"
        " VALUES (?, 'http://a/', ?, 'b', 'a', ?)",
        (client, '["job.failed", "job.succeeded"]', now()),
    )
    migrations.apply(sqlite_utils.Database(connection))
    ended_job(connection, client)
    assert webhooks.due(connection, 1)[0].secrets == ("b", "a")
    connection.close()


def test_what_has_ended_is_forgotten_in_time_and_what_is_pending_is_not(
    connection: sqlite3.Connection, client_id: int
) -> None:
    webhooks.put(connection, client_id, "http://a/", BOTH, "whsec_a")
    old, pending, new = (ended_job(connection, client_id) for _ in range(3))
    connection.execute(
        "UPDATE webhook_deliveries SET created_at = ? WHERE job_id IN (SELECT id FROM jobs WHERE public_id IN (?, ?))",
        (ago(timedelta(days=91)), old, pending),
    )
    for due in webhooks.due(connection, 3):
        if due.job_id != pending:
            webhooks.note_try(connection, due.id, 200, None, None)
    assert webhooks.forget_before(connection, ago(timedelta(days=90))) == 1
    assert states(connection) == {pending: DeliveryState.PENDING, new: DeliveryState.DELIVERED}


def test_retries_follow_a_clock_that_is_set_back(connection: sqlite3.Connection, client_id: int) -> None:
    """Set back a clock that was three hours ahead at two tries; the next ones are due a minute and two hours after them."""
    webhooks.put(connection, client_id, "http://a/", BOTH, "whsec_a")
    soon, late = ended_job(connection, client_id), ended_job(connection, client_id)
    connection.execute("UPDATE webhook_deliveries SET due_at = ?", (ago(timedelta(hours=5)),))
    assert webhooks.seconds_ahead(connection) == 0
    for due, wait in zip(webhooks.due(connection, 2), (timedelta(minutes=1), timedelta(hours=2)), strict=True):
        webhooks.note_try(connection, due.id, 500, "answered 500", later(timedelta(hours=3) + wait))
    connection.execute("UPDATE webhook_deliveries SET tried_at = ?", (later(timedelta(hours=3)),))
    ahead = webhooks.seconds_ahead(connection)
    assert ahead == pytest.approx(3 * 3600, abs=5)
    webhooks.follow_clock(connection, ahead)
    assert webhooks.seconds_ahead(connection) < 1
    rows = {row.job_id: row for row in webhooks.deliveries(connection, None, only_failed=False, limit=2)}
    for job_id, wait in ((soon, timedelta(minutes=1)), (late, timedelta(hours=2))):
        due_at = rows[job_id].next_try_at
        assert due_at is not None
        assert later(wait - timedelta(seconds=10)) < due_at < later(wait + timedelta(seconds=10))
        assert len(due_at) == len(later(wait))
