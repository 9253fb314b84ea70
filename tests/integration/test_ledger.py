"""The ledger on real SQLite files: money is neither lost nor made."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlite_utils
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from pipelines.origin import Origin
from server.jobs import EventType, FailureMode, Generation, Plan, Understood
from server.keys import digest_of
from server.ledger import artifacts, catalog, clients, credits, events, job_reads, jobs
from server.ledger.artifacts import ImageFile
from server.ledger.catalog import EntryType, Filter, Result
from server.ledger.connection import connect, migrate, transaction
from server.ledger.database import Database, DatabaseFull
from server.ledger.idempotency import Idempotency, KeyUsed
from server.ledger.migrations import migrations
from tests.support.ledger import new_image, new_job, row

RESULT = Result([new_image("a.png"), new_image("b.png")], "done")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    migrate(tmp_path / "backlot.db")
    opened = connect(tmp_path / "backlot.db")
    yield opened
    opened.close()


def client(connection: sqlite3.Connection, credits_: int) -> int:
    client_id = clients.add(connection, "studio", test=False)
    credits.grant(connection, client_id, credits_)
    return client_id


def test_a_dispatch_is_one_transaction(connection: sqlite3.Connection) -> None:
    client_id = client(connection, 7)
    with transaction(connection):
        accepted, is_made = jobs.add(connection, new_job(client_id), "x", row(1), None)
    assert is_made
    assert accepted.credits_cost == 5
    assert credits.totals(connection, client_id) == credits.Totals(balance=2, granted=7, spent=5, refunded=0)
    logged = connection.execute("SELECT * FROM request_logs").fetchone()
    assert (logged["status"], logged["job_id"], logged["credits"]) == (202, accepted.job_id, 5)


def test_too_few_credits_leave_nothing_behind(connection: sqlite3.Connection) -> None:
    client_id = client(connection, 4)
    with pytest.raises(jobs.BalanceTooLow) as refused, transaction(connection):
        jobs.add(connection, new_job(client_id), "x", row(1), None)
    assert (refused.value.balance, refused.value.cost) == (4, 5)
    for table in ("jobs", "events", "request_logs"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
    assert credits.totals(connection, client_id).balance == 4


def test_a_job_ends_once(connection: sqlite3.Connection) -> None:
    client_id = client(connection, 5)
    accepted, _ = jobs.add(connection, new_job(client_id), "x", row(1), None)
    assert jobs.fail(connection, accepted.job_id, "worker_crashed", "m")
    assert not jobs.fail(connection, accepted.job_id, "worker_crashed", "m")
    assert not jobs.succeed(connection, accepted.job_id, RESULT)
    assert credits.totals(connection, client_id) == credits.Totals(balance=5, granted=5, spent=5, refunded=5)
    found = job_reads.events_since(connection, client_id, accepted.job_id, 0)
    assert found is not None
    assert found.ended
    last = found.events[-1]
    assert (last.event_type, last.extra) == ("failed", {"reason": "worker_crashed", "refunded": 5})
    events.add(connection, accepted.job_id, EventType.STAGE, "a late report", stage="denoising")
    assert job_reads.events_since(connection, client_id, accepted.job_id, last.seq) == job_reads.EventsSince(
        [], [], last.seq, True
    )


def test_a_job_keeps_all_of_its_images(connection: sqlite3.Connection) -> None:
    client_id = client(connection, 5)
    accepted, _ = jobs.add(connection, new_job(client_id), "x", row(1), None)
    assert jobs.succeed(connection, accepted.job_id, RESULT)
    found = job_reads.detail(connection, client_id, accepted.job_id)
    assert found is not None
    files = [artifacts.image_file(connection, artifact.public_id) for artifact in found.artifacts]
    assert [None if file is None else file.path for file in files] == ["a.png", "b.png"]
    entries, total = catalog.page(connection, client_id, EntryType.IMAGE, Filter(), 50, 0)
    assert total == 2
    assert [entry.public_id for entry in entries] == [artifact.public_id for artifact in reversed(found.artifacts)]
    assert {entry.job for entry in entries} == {accepted.job_id}
    assert catalog.entry(connection, client_id, EntryType.IMAGE, entries[0].public_id) == entries[0]
    assert catalog.entry(connection, client_id, EntryType.BACKGROUND, entries[0].public_id) is None
    assert catalog.entry(connection, client_id + 1, EntryType.IMAGE, entries[0].public_id) is None


OLD_WORK = (
    '{"model":"m","width":512,"height":384,"steps":4,"guidance":1.5,"seed":9007199254740991,"prompt":"p \\"q\\"",'
    '"negative_prompt":"","colors":[[1,2,3]],"evaluate":true,"on_technical_failure":"retry","max_attempts":3,'
    '"display_name":"d","understood":{"scene":"wood","mood":"warm","colors_used":1}}'
)


def test_jobs_and_backgrounds_of_an_earlier_version_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "backlot.db"
    connection = connect(path)
    database = sqlite_utils.Database(connection)
    migrations.apply(database, stop_before="m003_plans_and_catalog")
    client_id = client(connection, 100)
    for number, status in ((1, "NOT_STARTED"), (2, "SUCCESS")):
        connection.execute(
            "INSERT INTO jobs (id, public_id, client_id, job_type, status, request, work, credits_cost, created_at)"
            " VALUES (?, ?, ?, 'BACKGROUND_GENERATOR', ?, '{}', ?, 5, '2026')",
            (number, f"job-{number}", client_id, status, OLD_WORK),
        )
    connection.execute(
        "INSERT INTO artifacts (id, public_id, job_id, path, kind, role, label, meta, created_at)"
        " VALUES (1, 'artifact', 2, 'a.png', 'catalog_image', 'final', 'l', '{}', '2026')"
    )
    connection.execute(
        "INSERT INTO backgrounds"
        " (public_id, client_id, job_id, artifact_id, status, scene_type, spec, description, created_at)"
        " VALUES ('entry', ?, 2, 1, 'archived', 'wood', '{}', 'd', '2026')",
        (client_id,),
    )
    migrations.apply(database)
    [(job, _)] = jobs.unfinished(connection)
    assert job.plan == Plan(
        generations=(
            Generation(
                model="m",
                width=512,
                height=384,
                steps=4,
                guidance=1.5,
                seed=2**53 - 1,
                prompt='p "q"',
                negative_prompt="",
                colors=((1, 2, 3),),
            ),
        ),
        evaluate=True,
        on_technical_failure=FailureMode.RETRY,
        max_attempts=3,
        display_name="d",
        understood=Understood("wood", "warm", 1),
    )
    [entry], _ = catalog.page(connection, client_id, EntryType.BACKGROUND, Filter(scene_type="wood"), 50, 0)
    assert (entry.public_id, entry.job, entry.status) == ("entry", "job-2", "archived")
    # Since that migration a picture has the id of its entry.
    assert artifacts.image_file(connection, "entry") == ImageFile("a.png", "l", Origin("job-2", "l"))
    connection.close()


def test_entries_cannot_be_changed_or_removed(connection: sqlite3.Connection) -> None:
    client(connection, 5)
    for statement in ("UPDATE entries SET amount = 500", "DELETE FROM entries"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)


def test_a_grant_is_not_zero(connection: sqlite3.Connection) -> None:
    client_id = clients.add(connection, "studio", test=False)
    with pytest.raises(ValueError, match="at least 1"):
        credits.grant(connection, client_id, 0)


def test_one_idempotency_key_charges_once(connection: sqlite3.Connection) -> None:
    client_id = client(connection, 50)
    key = Idempotency("k", "/v1/image-generation", b"body")
    first, is_made = jobs.add(connection, new_job(client_id), "x", row(1), key)
    second, is_made_again = jobs.add(connection, new_job(client_id), "x", row(2), key)
    assert is_made
    assert not is_made_again
    assert first == second
    assert credits.totals(connection, client_id).spent == 5
    for other in (
        Idempotency("k", "/v1/image-generation", b"another"),
        Idempotency("k", "/v1/background-generator", b"body"),
    ):
        with pytest.raises(KeyUsed):
            jobs.add(connection, new_job(client_id), "x", row(3), other)
    # Earlier versions kept no path with a key.
    connection.execute("UPDATE idempotency_keys SET path = NULL")
    assert jobs.add(connection, new_job(client_id), "x", row(4), key) == (first, False)


def test_concurrent_dispatches_never_overdraw(tmp_path: Path) -> None:
    """Ask for 60 jobs with credits for 20, by the server's writer and, in threads, by connections like other processes'."""
    path = tmp_path / "backlot.db"

    async def here(database: Database, client_id: int, number: int) -> bool:
        try:
            await database.write(lambda c: jobs.add(c, new_job(client_id), "x", row(number), None))
        except jobs.BalanceTooLow:
            return False
        return True

    def elsewhere(client_id: int, number: int) -> bool:
        other = connect(path)
        try:
            with transaction(other):
                jobs.add(other, new_job(client_id), "x", row(number), None)
        except jobs.BalanceTooLow:
            return False
        finally:
            other.close()
        return True

    async def ask() -> tuple[list[bool], credits.Totals]:
        migrate(path)
        database = Database(path)
        client_id = await database.write(lambda connection: client(connection, 100))
        accepted = await asyncio.gather(
            *(
                here(database, client_id, number) if number % 3 else asyncio.to_thread(elsewhere, client_id, number)
                for number in range(60)
            )
        )
        totals = await database.read(lambda connection: credits.totals(connection, client_id))
        database.close()
        return accepted, totals

    accepted, totals = asyncio.run(ask())
    assert sum(accepted) == 20
    assert totals == credits.Totals(balance=0, granted=100, spent=100, refunded=0)


def test_a_write_that_raises_undoes_only_itself(tmp_path: Path) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        clients.add(connection, "lost", test=False)
        raise LookupError

    async def three_writes() -> tuple[list[Any], list[str]]:
        migrate(tmp_path / "backlot.db")
        database = Database(tmp_path / "backlot.db")
        writes: list[asyncio.Future[Any]] = [
            database.submit(lambda c: clients.add(c, "first", test=False)),
            database.submit(fails),
            database.submit(lambda c: clients.add(c, "last", test=False)),
        ]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        names = await database.read(lambda c: [found["name"] for found in c.execute("SELECT name FROM clients")])
        database.close()
        return outcomes, names

    (first, failure, last), names = asyncio.run(three_writes())
    assert isinstance(failure, LookupError)
    assert last > first
    assert names == ["first", "last"]


def test_a_write_happens_although_its_caller_goes_away(tmp_path: Path) -> None:
    faults: list[object] = []

    async def scene() -> tuple[list[bool], list[str]]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        migrate(tmp_path / "backlot.db")
        database = Database(tmp_path / "backlot.db")
        callers = [
            asyncio.create_task(database.write(clients.add, name, test=False)) for name in ("first", "first", "last")
        ]
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await database.write(lambda c: clients.add(c, "another", test=False))
        await asyncio.wait(callers)
        names = await database.read(
            lambda c: [found["name"] for found in c.execute("SELECT name FROM clients ORDER BY id")]
        )
        database.close()
        return [caller.cancelled() for caller in callers], names

    cancelled, names = asyncio.run(scene())
    assert cancelled == [True, True, True]
    assert names == ["first", "last", "another"]
    assert not faults


def test_a_full_disk_refuses_whole_writes_and_says_so(tmp_path: Path) -> None:
    async def scene(database: Database) -> list[int | BaseException]:
        client_id = await database.write(lambda connection: client(connection, 100))
        # The limit stands for a full disk: SQLite answers both with the same error.
        await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone())

        def grant(connection: sqlite3.Connection, label: str) -> int:
            credits.grant(connection, client_id, 1, label)
            return credits.balance(connection, client_id)

        large = [database.submit(lambda connection: grant(connection, "x" * 100_000)) for _ in range(3)]
        outcomes = await asyncio.gather(*large, return_exceptions=True)
        await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
        return [*outcomes, await database.write(lambda connection: grant(connection, "small"))]

    migrate(tmp_path / "backlot.db")
    database = Database(tmp_path / "backlot.db")
    *refused, balance = asyncio.run(scene(database))
    database.close()
    assert [type(outcome) for outcome in refused] == [DatabaseFull] * 3
    assert balance == 101


def test_migrations_apply_once_and_keep_the_data(tmp_path: Path) -> None:
    path = tmp_path / "backlot.db"
    migrate(path)
    opened = connect(path)
    client(opened, 9)
    opened.close()
    migrate(path)
    opened = connect(path)
    assert opened.execute("SELECT balance FROM clients").fetchone()["balance"] == 9
    assert opened.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert path.stat().st_mode & 0o077 == 0
    opened.close()


class Accounting(RuleBasedStateMachine):
    """Any order of grants, dispatches, repeats, ends and late reports, against a model of a few integers."""

    dispatched = Bundle("dispatched")

    def __init__(self) -> None:
        super().__init__()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA foreign_keys = ON")
        migrations.apply(sqlite_utils.Database(self.connection))
        self.clients = [clients.add(self.connection, name, test=False) for name in ("a", "b")]
        self.granted = dict.fromkeys(self.clients, 0)
        self.cost: dict[str, tuple[int, int]] = {}
        self.ended: dict[str, bool] = {}
        self.requests = 0

    @rule(which=st.integers(0, 1), amount=st.integers(-20, 30).filter(bool))
    def grant(self, which: int, amount: int) -> None:
        client_id = self.clients[which]
        before = self.balance(client_id)
        try:
            credits.grant(self.connection, client_id, amount)
        except credits.TooMuchTaken:
            assert before + amount < 0
            return
        assert before + amount >= 0
        self.granted[client_id] += amount

    @rule(target=dispatched, which=st.integers(0, 1), cost=st.integers(0, 12), key=st.sampled_from([None, "k1", "k2"]))
    def dispatch(self, which: int, cost: int, key: str | None) -> Any:
        client_id = self.clients[which]
        idempotency = None if key is None else Idempotency(key, "/v1/image-generation", b"same")
        self.requests += 1
        before = self.balance(client_id)
        try:
            with transaction(self.connection):
                job = new_job(client_id, cost)
                accepted, is_made = jobs.add(self.connection, job, "x", row(self.requests), idempotency)
        except jobs.BalanceTooLow:
            assert before < cost
            return multiple()
        if is_made:
            self.cost[accepted.job_id] = (client_id, cost)
        return accepted.job_id

    @rule(job_id=dispatched, success=st.booleans())
    def end(self, job_id: str, success: bool) -> None:
        with transaction(self.connection):
            ended = (
                jobs.succeed(self.connection, job_id, RESULT)
                if success
                else jobs.fail(self.connection, job_id, "r", "m")
            )
        assert ended == (job_id not in self.ended)
        self.ended.setdefault(job_id, success)

    @rule(job_id=dispatched)
    def report(self, job_id: str) -> None:
        jobs.start(self.connection, job_id, 1)
        events.add(self.connection, job_id, EventType.STAGE, "m", stage="denoising")

    def balance(self, client_id: int) -> int:
        return credits.totals(self.connection, client_id).balance

    @invariant()
    def balances_are_right(self) -> None:
        for client_id in self.clients:
            own = {job_id: cost for job_id, (owner, cost) in self.cost.items() if owner == client_id}
            spent = sum(own.values())
            refunded = sum(cost for job_id, cost in own.items() if self.ended.get(job_id) is False)
            expected = self.granted[client_id] - spent + refunded
            assert credits.totals(self.connection, client_id) == credits.Totals(
                expected, self.granted[client_id], spent, refunded
            )
            entries = self.connection.execute(
                "SELECT coalesce(sum(amount), 0) FROM entries WHERE client_id = ?", (client_id,)
            ).fetchone()[0]
            assert entries == expected >= 0

    @invariant()
    def ended_jobs_say_so_once(self) -> None:
        for job_id, success in self.ended.items():
            last = self.connection.execute(
                "SELECT event_type FROM events JOIN jobs ON jobs.id = events.job_id WHERE public_id = ? AND"
                " event_type IN ('succeeded', 'failed')",
                (job_id,),
            ).fetchall()
            assert [found["event_type"] for found in last] == ["succeeded" if success else "failed"]

    def teardown(self) -> None:
        self.connection.close()


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=60, stateful_step_count=30)


def test_credits_are_taken_back_by_a_negative_grant(connection: sqlite3.Connection) -> None:
    client_id = client(connection, 7)
    credits.grant(connection, client_id, -3, "a mistake")
    assert credits.totals(connection, client_id) == credits.Totals(balance=4, granted=4, spent=0, refunded=0)
    with pytest.raises(credits.TooMuchTaken, match="5 credits cannot be taken back from 'studio', which has 4"):
        credits.grant(connection, client_id, -5)
    assert credits.totals(connection, client_id).balance == 4


def test_entries_of_before_keep_their_balances_and_their_triggers(tmp_path: Path) -> None:
    database = sqlite_utils.Database(connect(tmp_path / "backlot.db"))
    migrations.apply(database, stop_before="m008_operator")
    old = database.conn
    old.execute("INSERT INTO clients (id, public_id, name, test, created_at) VALUES (1, 'p', 'studio', 0, '2026')")
    credits.grant(old, 1, 9)
    before = [tuple(row) for row in old.execute("SELECT * FROM entries")]
    migrations.apply(database)
    assert [tuple(row) for row in old.execute("SELECT * FROM entries")] == before
    assert credits.totals(old, 1).balance == 9
    credits.grant(old, 1, -4)
    assert credits.totals(old, 1) == credits.Totals(balance=5, granted=5, spent=0, refunded=0)
    for statement in ("DELETE FROM entries", "UPDATE entries SET amount = 1"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            old.execute(statement)
    old.close()


def test_a_key_is_revoked_by_the_whole_of_it_or_by_first_characters_that_no_other_has(
    connection: sqlite3.Connection,
) -> None:
    client_id = clients.add(connection, "studio", test=False)
    hint = "sk_live_abcdef"
    for end in ("1", "2"):
        clients.add_key(connection, client_id, digest_of(hint + end), hint, clients.KeyTerms())

    def revoke(key: str) -> None:
        with transaction(connection):
            clients.revoke_key(connection, key, digest_of(key))

    with pytest.raises(clients.NoSuchKey, match="known as 'sk_live_abcdef…'"):
        revoke(hint + "3")
    with pytest.raises(clients.SeveralKeys, match="give the whole key"):
        revoke(hint)
    for end in ("1", "2"):
        assert clients.caller(connection, digest_of(hint + end)).client_id == client_id
    revoke(hint + "1")
    with pytest.raises(clients.KeyRefused):
        clients.caller(connection, digest_of(hint + "1"))
    revoke(hint)
    with pytest.raises(clients.KeyRefused):
        clients.caller(connection, digest_of(hint + "2"))
