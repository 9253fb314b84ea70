"""Images that are removed: the entry goes, the artifact keeps its meta, and the file is listed until it is gone too.

Money is never touched: what was paid for an image stays paid.
"""

import sqlite3
from collections.abc import Iterable

from server.clock import now
from server.ledger.catalog import EntryType


def remove(connection: sqlite3.Connection, client_id: int, entry_type: EntryType, public_id: str) -> bool:
    """Remove the client's entry and list its file; return False if it is unknown, of another type or another client's."""
    row = connection.execute(
        "DELETE FROM catalog WHERE client_id = ? AND entry_type = ? AND public_id = ? RETURNING artifact_id",
        (client_id, entry_type, public_id),
    ).fetchone()
    if row is None:
        return False
    removed = connection.execute(
        "UPDATE artifacts SET removed_at = ? WHERE id = ? RETURNING path", (now(), row["artifact_id"])
    ).fetchone()
    connection.execute("INSERT OR IGNORE INTO removed_files (path) VALUES (?)", (removed["path"],))
    return True


def files(connection: sqlite3.Connection) -> list[str]:
    """Return the files of removed images that may still be on disk, relative to the images folder."""
    return [row["path"] for row in connection.execute("SELECT path FROM removed_files")]


def forget_files(connection: sqlite3.Connection, paths: Iterable[str]) -> None:
    """Take files from the list: they are gone."""
    connection.executemany("DELETE FROM removed_files WHERE path = ?", [(path,) for path in paths])
