"""A consistent copy of the ledger, made while the server writes to it, and the way back."""

import sqlite3
from contextlib import closing
from pathlib import Path

from server.ledger.connection import DatabaseNewer, migrate
from server.operator_error import OperatorError


class DamagedCopy(OperatorError):
    def __init__(self, copy: Path, verdict: str) -> None:
        super().__init__(f"the copy {copy} is damaged: {verdict}")


def back_up(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the whole database into the new file `target`, by SQLite's online backup. Raises DamagedCopy."""
    with closing(sqlite3.connect(target)) as copy:
        # Only its owner may read it: it holds what clients asked for.
        target.chmod(0o600)
        connection.backup(copy)
    check(target)


def check(copy: Path) -> None:
    """Raise DamagedCopy unless a file is a whole ledger."""
    try:
        with closing(sqlite3.connect(_uri(copy), uri=True)) as connection:
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
            connection.execute("SELECT balance FROM clients LIMIT 1")
    except sqlite3.DatabaseError as error:
        raise DamagedCopy(copy, str(error)) from error
    if verdict != "ok":
        raise DamagedCopy(copy, verdict)


def ready_to_use(copy: Path, partial: Path) -> None:
    """Copy a backup to the new file `partial`, check it, and bring it to the present schema.

    If that fails, nothing is left. Raises DamagedCopy and DatabaseNewer.
    """
    check(copy)
    partial.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(_uri(copy), uri=True)) as source:
            back_up(source, partial)
        migrate(partial)
    except BaseException as error:
        # On a full disk half a copy would take room that the ledger needs.
        partial.unlink(missing_ok=True)
        if isinstance(error, DatabaseNewer):
            raise DatabaseNewer(copy, error.unknown) from None
        raise


def _uri(copy: Path) -> str:
    """Return the URI that opens a copy to read it: with its log, if it has one; if not, without making files beside it."""
    has_log = copy.with_name(f"{copy.name}-wal").exists()
    return f"{copy.absolute().as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
