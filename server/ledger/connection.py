"""Connections to the ledger's file, its schema, and transactions."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from server.operator_error import OperatorError

#: KiB of pages that a connection which only reads keeps. It drops them whenever something was written, and reads them again
#: from the system's cache: SQLite's own 2,000 would make no sum faster (docs/decisions/memory.md).
READER_CACHE_KIB = 512


class DatabaseNewer(OperatorError):
    """A later version of Backlot has changed the schema. Nothing was read or written."""

    def __init__(self, path: Path, unknown: Sequence[str]) -> None:
        self.unknown = unknown
        super().__init__(
            f"{path} was used by a newer Backlot, whose {unknown[-1]} this one does not know: run that version, or put back a"
            " copy made before the upgrade, with `backlot db restore`"
        )


def connect(path: Path, *, read_only: bool = False, patience_s: float = 30.0) -> sqlite3.Connection:
    """Return a connection with this project's settings: WAL, synchronous=FULL, foreign keys, rows by name.

    `isolation_level=None`: only `transaction` begins and ends transactions. A statement waits for another program's lock for
    at most `patience_s`.
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
    # Imported here, because NumPy comes with it, and a command that only reads should not wait for that.
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
