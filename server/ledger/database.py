"""One SQLite file: a single writer that groups durable commits, and read-only connections beside it."""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from server.ledger.reserve import Reserve

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Writes that may share one commit. Each is still all or nothing, in a savepoint of its own.
GROUP = 64
READERS = 2
#: KiB of pages that a connection which only reads keeps. It drops them whenever something was written, and reads them again
#: from the system's cache: sums over 62,000 jobs take no longer than with SQLite's own 2,000. A sort takes up to 1 MiB more.
READER_CACHE_KIB = 512

#: Seconds that `write` waits for the write lock while another program has it.
PATIENCE_S = 3.5
#: Seconds that the writes that are left may hold up the end of the server while another program has the lock.
CLOSING_PATIENCE_S = 10.0
#: Seconds SQLite asks for the lock before the writer looks at who is still waiting.
ASK_FOR_S = 0.05
#: Seconds of a held lock before it is worth a line in the log.
WORTH_TELLING_S = 1.0


class DatabaseBusy(Exception):
    """Another program has the write lock. Nothing of this write is kept, and it will not happen later."""


class DatabaseMissing(Exception):
    """The database's file was removed or replaced. What is written to the open file now would be lost with it."""


class DatabaseFull(Exception):
    """The disk takes no more. Nothing of this write is kept, and it will not happen later."""


class DatabaseNewer(Exception):
    """A later version of Backlot has changed the schema. Nothing was read or written."""

    def __init__(self, path: Path, unknown: Sequence[str]) -> None:
        super().__init__(
            f"{path} was used by a newer Backlot, whose {unknown[-1]} this one does not know: run that version, or put back a"
            " copy made before the upgrade, with `backlot db restore`"
        )


class Write(msgspec.Struct, frozen=True):
    """What to write, and whom to tell."""

    work: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any]
    #: When to give up waiting for the write lock, on the monotonic clock; None is never.
    until: float | None


Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]


def connect(path: Path, *, read_only: bool = False, patience_s: float = 30.0) -> sqlite3.Connection:
    """Return a connection with this project's settings: WAL, synchronous=FULL, foreign keys, rows by name.

    `isolation_level=None`: only `transaction` begins and ends transactions. A statement waits for a lock of another program
    as long as `patience_s`.
    """
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=patience_s)
    connection.row_factory = sqlite3.Row
    if read_only:
        connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
    else:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def migrate(path: Path) -> None:
    """Bring the file to the present schema. A migration that fails leaves the file as it was before it.

    Raises DatabaseNewer.
    """
    # Imported here: NumPy comes with it, and a command that only reads does not wait for that.
    import sqlite_utils

    from server.ledger.migrations import migrations

    path.parent.mkdir(parents=True, exist_ok=True)
    connection = connect(path)
    try:
        database = sqlite_utils.Database(connection)
        known = {migration.name for migration in migrations.pending(sqlite_utils.Database(memory=True))}
        if unknown := [applied.name for applied in migrations.applied(database) if applied.name not in known]:
            raise DatabaseNewer(path, unknown)
        migrations.apply(database)
    finally:
        connection.close()
    path.chmod(0o600)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Run a block in BEGIN IMMEDIATE … COMMIT, so that what it reads still holds when it writes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, a full disk among them.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class Database:
    """The server's end. A write is told of once its transaction is on disk."""

    def __init__(self, path: Path) -> None:
        migrate(path)
        self.path = path
        #: Since when another program has kept this one from writing, on the monotonic clock; None if nothing is kept.
        self.locked_since: float | None = None
        #: Room that is given up when the disk is full. A server holds it; a command has none.
        self.reserve = Reserve(path.with_name("reserve"))
        #: Writes that were refused since the disk was full; 0 if it takes them.
        self._refused_by_disk = 0
        #: What is wrong with the database's files; None if they are those that were opened.
        self.missing: str | None = None
        self._work: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_until_closed, name="ledger-writer", daemon=True)
        self._readers = ThreadPoolExecutor(READERS, "ledger-reader")
        self._look_ups = connect(path, read_only=True)
        #: A connection for each reader; opened now, so that later nothing can be wrong with the path.
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for _ in range(READERS):
            self._idle.put(connect(path, read_only=True))
        self._writer.start()

    def submit(self, work: Callable[[sqlite3.Connection], T], patience_s: float | None = None) -> "asyncio.Future[T]":
        """Queue a write, on the event loop; writes happen in the order they were submitted.

        While another program has the write lock it waits for it, up to `patience_s` if that is given: then the future has
        DatabaseBusy.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        until = None if patience_s is None else time.monotonic() + patience_s
        self._work.put(Write(work, done, until))
        return done

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction. What it raises is raised here, and nothing of it is kept.

        Raises DatabaseBusy if another program has the write lock for PATIENCE_S, DatabaseFull if the disk is full, and
        DatabaseMissing.
        """
        # Shielded: a caller that goes away neither undoes nor races with a write under way.
        return await asyncio.shield(self.submit(work, PATIENCE_S))

    @property
    def problem(self) -> str | None:
        """Return why nothing is written now; None if it is."""
        since = self.locked_since
        if self._refused_by_disk:
            return f"the disk with {self.path} is full; remove files"
        if self.missing is None and since is not None and time.monotonic() - since > WORTH_TELLING_S:
            return f"another program has had the write lock of {self.path} for {time.monotonic() - since:.0f} s"
        return self.missing

    def look_up(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read of a row or two by their index right here, on the event loop, where a change of thread would cost
        more than the read. WAL readers wait for no writer."""
        return work(self._look_ups)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a read-only connection; it sees every write that has returned."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def close(self) -> None:
        """Finish the writes under way, then close.

        The writer is the last, since only a connection that may write takes the write-ahead log into the database and removes
        it.
        """
        self._readers.shutdown()
        self._look_ups.close()
        while not self._idle.empty():
            self._idle.get().close()
        self._work.put(None)
        self._writer.join()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._idle.get()
        try:
            # One snapshot for all that `work` reads.
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("ROLLBACK")
        finally:
            self._idle.put(connection)

    def _write_until_closed(self) -> None:
        connection = connect(self.path, patience_s=ASK_FOR_S)
        files = _Files(self.path)
        waiting: deque[Write] = deque()
        closing_at: float | None = None
        while waiting or closing_at is None:
            while not self._work.empty() or not waiting:
                write = self._work.get()
                if write is None:
                    closing_at = time.monotonic() + CLOSING_PATIENCE_S
                    break
                waiting.append(write)
            if not waiting:
                continue
            try:
                files.check()
                self.missing = None
                group = _commit(connection, waiting)
            except DatabaseMissing as error:
                self.missing = str(error)
                group = [(write.done, None, error) for write in waiting]
                waiting.clear()
            except _Locked:
                group = self._give_up(waiting, closing_at)
            except _Full as full:
                waiting.extendleft(reversed(full.group))
                if self.reserve.release():
                    continue
                group = self._refuse(waiting)
            else:
                self._unlocked()
                self._has_room()
            if group:
                _answer(group)
        connection.close()

    def _give_up(self, waiting: deque[Write], closing_at: float | None) -> list[Outcome]:
        """Take out the writes whose patience is over, at the end of the server all of them."""
        now = time.monotonic()
        if self.locked_since is None:
            self.locked_since = now
        ending = closing_at is not None and now > closing_at
        over: list[Write] = []
        keep: list[Write] = []
        for write in waiting:
            is_over = ending or (write.until is not None and now > write.until)
            (over if is_over else keep).append(write)
        if not over:
            return []
        waiting.clear()
        waiting.extend(keep)
        log.warning(
            "Another program has had the write lock of %s for %.0f s: %d writes were given up, %d wait",
            self.path,
            now - self.locked_since,
            len(over),
            len(keep),
        )
        return [
            (write.done, None, DatabaseBusy(f"another program has the write lock of {self.path}")) for write in over
        ]

    def _refuse(self, waiting: deque[Write]) -> list[Outcome]:
        """Take out all writes: the disk takes none of them. Say so once."""
        if not self._refused_by_disk:
            log.error("The disk with %s is full, and nothing can be written; remove files", self.path)
        self._refused_by_disk += len(waiting)
        refused: list[Outcome] = [
            (write.done, None, DatabaseFull("the disk with the database is full")) for write in waiting
        ]
        waiting.clear()
        return refused

    def _has_room(self) -> None:
        refused, self._refused_by_disk = self._refused_by_disk, 0
        if refused:
            log.info("The disk takes the database's writes again; %d were refused", refused)

    def _unlocked(self) -> None:
        since, self.locked_since = self.locked_since, None
        if since is not None and time.monotonic() - since > WORTH_TELLING_S:
            log.info("Another program had the write lock for %.1f s; what waited is on disk", time.monotonic() - since)


class _Locked(Exception):
    """Another program has the write lock."""


class _Full(Exception):
    """The disk is full, and nothing of a group was kept."""

    def __init__(self, group: list[Write]) -> None:
        self.group = group


class _Files:
    """The database's files, which must stay the ones that were opened."""

    def __init__(self, path: Path) -> None:
        self._opened = {path: _identity(path)}
        self._log = path.with_name(f"{path.name}-wal")

    def check(self) -> None:
        """Raise DatabaseMissing if one of them is gone, or another one than at the last check."""
        # SQLite makes its write-ahead log with the first write and keeps it as long as the database is open.
        if self._log not in self._opened and (found := _identity(self._log)) is not None:
            self._opened[self._log] = found
        for path, opened in self._opened.items():
            if _identity(path) != opened:
                raise DatabaseMissing(
                    f"{path} was removed or replaced while the server runs: put it back, or stop the server and restore a"
                    " backup"
                )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from all others, whatever its name; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _commit(connection: sqlite3.Connection, waiting: deque[Write]) -> list[Outcome]:
    """Take the next group of writes and commit them all at once; one that raises undoes itself alone.

    Raises _Locked, and takes nothing, if another program has the write lock; _Full, with what it took, if the disk is full.
    """
    group: list[Write] = []
    outcomes: list[Outcome] = []
    try:
        with transaction(connection):
            while waiting and len(group) < GROUP:
                write = waiting.popleft()
                group.append(write)
                connection.execute("SAVEPOINT member")
                try:
                    outcomes.append((write.done, write.work(connection), None))
                except BaseException as error:
                    if isinstance(error, sqlite3.Error) and not connection.in_transaction:
                        # SQLite has rolled back the whole group by itself, as it does if the disk is full.
                        raise
                    if _is_full(error):
                        raise
                    connection.execute("ROLLBACK TO member")
                    outcomes.append((write.done, None, error))
                connection.execute("RELEASE member")
    except sqlite3.Error as error:
        if not group and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            raise _Locked from None
        if _is_full(error):
            raise _Full(group) from None
        log.exception("A commit of %d writes failed; none of them is kept", len(group))
        if not group:
            group = list(waiting)
            waiting.clear()
        return [(write.done, None, error) for write in group]
    return outcomes


def _is_full(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


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
