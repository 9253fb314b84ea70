"""One SQLite file: a single writer that groups durable commits, and read-only connections beside it."""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from server.ledger.connection import connect
from server.ledger.group_commit import Full, Locked, Outcome, Write, commit
from server.ledger.opened_files import DatabaseMissing, OpenedFiles
from server.ledger.reserve import Reserve

T = TypeVar("T")
P = ParamSpec("P")
#: A read or a write: a function of a connection and of its own arguments.
Work = Callable[Concatenate[sqlite3.Connection, P], T]
log = logging.getLogger(__name__)

READERS = 2

#: Seconds that `write` waits for the write lock while another program has it.
PATIENCE_S = 3.5
#: Seconds that the remaining writes may hold up the end of the server while another program has the lock.
CLOSING_PATIENCE_S = 10.0
#: Seconds that SQLite asks for the lock before the writer looks which writes still wait for it.
ASK_FOR_S = 0.05
#: Seconds that another program must hold the lock before the log and `problem` say so.
WORTH_TELLING_S = 1.0


class DatabaseBusy(Exception):
    """Another program has the write lock. Nothing of this write is kept, and it will not happen later."""


class DatabaseFull(Exception):
    """The disk is full. Nothing of this write is kept, and it will not happen later."""


class Database:
    """The ledger's file, open. A caller has the result of its write once the transaction is on disk."""

    def __init__(self, path: Path) -> None:
        """Open a file that has the present schema."""
        self.path = path
        #: Since when another program has held the write lock, on the monotonic clock; None if none holds it.
        self.locked_since: float | None = None
        #: Room that is given up when the disk is full. A server holds it; a command has none.
        self.reserve = Reserve(path.with_name("reserve"))
        #: Writes that were refused since the disk became full; 0 if it takes them.
        self._refused_by_disk = 0
        #: The fault of the database's files; None if they are those that were opened.
        self.missing: str | None = None
        #: The writes that the event loop has queued since it last handed some over.
        self._queued: list[Write] = []
        self._work: queue.SimpleQueue[list[Write] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_until_closed, name="ledger-writer", daemon=True)
        self._readers = ThreadPoolExecutor(READERS, "ledger-reader")
        self._look_ups = connect(path, read_only=True)
        #: A connection for each reader; opened now, so that later nothing can be wrong with the path.
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for _ in range(READERS):
            self._idle.put(connect(path, read_only=True))
        self._writer.start()

    def submit(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[T]":
        """Queue a write, from the event loop: `work` on a connection, with these arguments. Writes keep their order.

        The write waits for as long as another program has the write lock.
        """
        return self._submit(lambda connection: work(connection, *args, **kwargs), None)

    async def write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a transaction, with these arguments. An error of `work` is raised here, and nothing of it is kept.

        Raises DatabaseBusy if another program has the write lock for PATIENCE_S, DatabaseFull if the disk is full, and
        DatabaseMissing.
        """
        until = time.monotonic() + PATIENCE_S
        # A caller that goes away is told nothing; its write happens all the same.
        return await self._submit(lambda connection: work(connection, *args, **kwargs), until)

    def _submit(self, work: Callable[[sqlite3.Connection], T], until: float | None) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if not self._queued:
            # All that the loop queues in one round goes over at once: each waking of the writer's thread costs, and writes
            # that come together share a commit.
            loop.call_soon(self._hand_over)
        self._queued.append(Write(work, done, until))
        return done

    def _hand_over(self) -> None:
        queued, self._queued = self._queued, []
        self._work.put(queued)

    @property
    def problem(self) -> str | None:
        """Return why nothing can be written now; None if writes go through."""
        since = self.locked_since
        if self._refused_by_disk:
            return f"the disk with {self.path} is full; remove files"
        if self.missing is None and since is not None and time.monotonic() - since > WORTH_TELLING_S:
            return f"another program has had the write lock of {self.path} for {time.monotonic() - since:.0f} s"
        return self.missing

    def look_up(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a read of a row or two by index right here, on the event loop: a change of thread would cost more.

        With a write-ahead log, readers wait for no writer.
        """
        return work(self._look_ups, *args, **kwargs)

    async def read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` on a read-only connection, with these arguments; it sees every write that has returned."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._readers, self._read, lambda connection: work(connection, *args, **kwargs)
        )

    def close(self) -> None:
        """Finish the writes under way, then close.

        The writer is the last, since only a connection that may write moves the write-ahead log into the database and removes
        it.
        """
        self._readers.shutdown()
        self._look_ups.close()
        while not self._idle.empty():
            self._idle.get().close()
        # The loop may have ended before it handed the last of them over.
        self._hand_over()
        self._work.put(None)
        self._writer.join()

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._idle.get()
        try:
            # All that `work` reads comes from one snapshot.
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("ROLLBACK")
        finally:
            self._idle.put(connection)

    def _write_until_closed(self) -> None:
        connection = connect(self.path, patience_s=ASK_FOR_S)
        files = OpenedFiles(self.path)
        waiting: deque[Write] = deque()
        closing_at: float | None = None
        while waiting or closing_at is None:
            while not self._work.empty() or not waiting:
                writes = self._work.get()
                if writes is None:
                    closing_at = time.monotonic() + CLOSING_PATIENCE_S
                    break
                waiting.extend(writes)
            if not waiting:
                continue
            try:
                files.check()
                self.missing = None
                group = commit(connection, waiting)
            except DatabaseMissing as error:
                self.missing = str(error)
                group = [(write.done, None, error) for write in waiting]
                waiting.clear()
            except Locked:
                group = self._give_up(waiting, closing_at)
            except Full as full:
                waiting.extendleft(reversed(full.group))
                if self.reserve.release():
                    continue
                group = self._refuse(waiting)
            else:
                self._note_unlocked()
                self._note_room()
            if group:
                _answer(group)
        connection.close()

    def _give_up(self, waiting: deque[Write], closing_at: float | None) -> list[Outcome]:
        """Take out the writes whose patience is over; all of them once the end of the server has waited long enough."""
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
        """Take out all writes, since the disk takes none of them, and log that once."""
        if not self._refused_by_disk:
            log.error("The disk with %s is full, and nothing can be written; remove files", self.path)
        self._refused_by_disk += len(waiting)
        refused: list[Outcome] = [
            (write.done, None, DatabaseFull("the disk with the database is full")) for write in waiting
        ]
        waiting.clear()
        return refused

    def _note_room(self) -> None:
        refused, self._refused_by_disk = self._refused_by_disk, 0
        if refused:
            log.info("The disk takes the database's writes again; %d were refused", refused)

    def _note_unlocked(self) -> None:
        since, self.locked_since = self.locked_since, None
        if since is not None and time.monotonic() - since > WORTH_TELLING_S:
            log.info("Another program had the write lock for %.1f s; what waited is on disk", time.monotonic() - since)


def _answer(outcomes: list[Outcome]) -> None:
    """Wake the callers of a group of writes with one call of the loop, since each call costs a system call."""
    loop = outcomes[0][0].get_loop()
    try:
        loop.call_soon_threadsafe(_give_results, outcomes)
    except RuntimeError:
        # The loop was closed by a stop, and nobody waits for these writes any more.
        failed = [error for _, _, error in outcomes if error is not None]
        log.info("%d writes were finished after the event loop had ended", len(outcomes) - len(failed))
        if failed:
            log.warning("%d writes failed after the event loop had ended: %s", len(failed), failed[0])


def _give_results(outcomes: list[Outcome]) -> None:
    """Give each caller the result of its write, or the error."""
    for done, result, error in outcomes:
        if done.cancelled():
            continue
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)
