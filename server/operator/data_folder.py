"""The ledger in the data folder, opened by a command whether or not the server is running."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from server.ledger.database import connect, migrate, transaction
from server.operator.errors import CommandError


@contextmanager
def reading(database: Path) -> Iterator[sqlite3.Connection]:
    """Open the ledger to read it. Raises CommandError if there is none."""
    if not database.exists():
        raise CommandError(
            f"there is no database at {database}; start the server once, or set BACKLOT_DATA to its data folder"
        )
    with closing(connect(database, read_only=True)) as connection:
        yield connection


@contextmanager
def writing(database: Path) -> Iterator[sqlite3.Connection]:
    """Run one durable transaction; a ledger that is not there yet is made."""
    migrate(database)
    with closing(connect(database)) as connection, transaction(connection):
        yield connection
