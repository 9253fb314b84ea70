"""One SQLite file: a single writer that groups durable commits, and read-only connections beside it."""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Writes that may share one commit. Each is still all or nothing, in a savepoint of its own.
GROUP = 64
READERS = 2

#: What to write, and whom to tell.
Write = tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]
Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with this project's settings: WAL, synchronous=FULL, foreign keys, rows by name.

    `isolation_level=None`: only `transaction` begins and ends transactions.
    """
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    connection.row_factory = sqlite3.Row
    if not read_only:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def migrate(path: Path) -> None:
    """Bring the file to the present schema. A migration that fails leaves the file as it was before it."""
    # Imported here: NumPy comes with it, and a command that only reads does not wait for that.
    import sqlite_utils

    from server.ledger.migrations import migrations

    path.parent.mkdir(parents=True, exist_ok=True)
    connection = connect(path)
    try:
        migrations.apply(sqlite_utils.Database(connection))
    finally:
        connection.close()
    path.chmod(0o600)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Run a block in BEGIN IMMEDIATE … COMMIT, so that what it reads still holds when it writes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


class Database:
    """The server's end. `write` returns once its transaction is on disk."""

    def __init__(self, path: Path) -> None:
        migrate(path)
        self.path = path
        self._work: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_until_closed, name="ledger-writer", daemon=True)
        self._local = threading.local()
        self._readers = ThreadPoolExecutor(READERS, "ledger-reader")
        self._look_ups = connect(path, read_only=True)
        self._open = [self._look_ups]
        self._writer.start()

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Queue a write, on the event loop; writes happen in the order they were submitted."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work.put((work, done))
        return done

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction. What it raises is raised here, and nothing of it is kept."""
        # Shielded: a caller that gives up waiting neither undoes nor races with a write under way.
        return await asyncio.shield(self.submit(work))

    def look_up(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read of a row or two by their index right here, on the event loop, where a change of thread would cost
        more than the read. WAL readers wait for no writer."""
        return work(self._look_ups)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a read-only connection; it sees every write that has returned."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def close(self) -> None:
        """Finish the writes under way, then close."""
        self._work.put(None)
        self._writer.join()
        self._readers.shutdown()
        for connection in self._open:
            connection.close()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self.path, read_only=True)
            self._open.append(connection)
        # One snapshot for all that `work` reads.
        connection.execute("BEGIN")
        try:
            return work(connection)
        finally:
            connection.execute("ROLLBACK")

    def _write_until_closed(self) -> None:
        connection = connect(self.path)
        closing = False
        while not closing:
            group = [self._work.get()]
            while len(group) < GROUP and not self._work.empty():
                group.append(self._work.get())
            closing = None in group
            writes = [write for write in group if write is not None]
            if writes:
                _answer(_commit(connection, writes))
        connection.close()


def _commit(connection: sqlite3.Connection, group: list[Write]) -> list[Outcome]:
    """One durable commit for the whole group; a member that raises undoes itself alone."""
    outcomes: list[Outcome] = []
    try:
        with transaction(connection):
            for work, done in group:
                connection.execute("SAVEPOINT member")
                try:
                    outcomes.append((done, work(connection), None))
                except BaseException as error:  # noqa: BLE001  the waiting caller gets it
                    connection.execute("ROLLBACK TO member")
                    outcomes.append((done, None, error))
                connection.execute("RELEASE member")
    except sqlite3.Error as error:
        log.exception("A commit of %d writes failed; none of them is kept", len(group))
        return [(done, None, error) for _, done in group]
    return outcomes


def _answer(outcomes: list[Outcome]) -> None:
    """Wake those who wait for a group of writes: the loop is called once, since each call of it costs a system call."""
    loop = outcomes[0][0].get_loop()
    try:
        loop.call_soon_threadsafe(_settle, outcomes)
    except RuntimeError:
        # The loop was closed by a stop: the writes are on disk, and nobody waits for them any more.
        log.info("%d writes were finished after the event loop had ended", len(outcomes))


def _settle(outcomes: list[Outcome]) -> None:
    for done, result, error in outcomes:
        if done.cancelled():
            continue
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)
