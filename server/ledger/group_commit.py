"""Durable commits of several writes at once. Each write is still all or nothing, in a savepoint of its own."""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from server.ledger.connection import transaction

log = logging.getLogger(__name__)

#: Writes that may share one commit.
GROUP = 64


class Write(msgspec.Struct, frozen=True):
    """A write, and the future by which its caller learns the outcome."""

    work: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any]
    #: When to give up waiting for the write lock, on the monotonic clock; None is never.
    until: float | None


Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]


class Locked(Exception):
    """Another program has the write lock."""


class Full(Exception):
    """The disk is full, and nothing of a group was kept."""

    def __init__(self, group: list[Write]) -> None:
        self.group = group


def commit(connection: sqlite3.Connection, waiting: deque[Write]) -> list[Outcome]:
    """Take the next group of writes and commit them all at once; one that raises is undone alone.

    Raises Locked, and takes nothing, if another program has the write lock; Full, with what it took, if the disk is full.
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
            raise Locked from None
        if _is_full(error):
            raise Full(group) from None
        log.exception("A commit of %d writes failed; none of them is kept", len(group))
        if not group:
            group = list(waiting)
            waiting.clear()
        return [(write.done, None, error) for write in group]
    return outcomes


def _is_full(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
