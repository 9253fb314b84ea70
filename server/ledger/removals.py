"""Images that are removed: the entry goes, the artifact keeps its meta, and the file is listed until it is gone too.

Money is never touched: what was paid for an image stays paid.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from server.clock import now
from server.ledger.catalog import EntryType


class Removed(msgspec.Struct, frozen=True):
    public_id: str
    #: The public id of the job that made it.
    job: str


def remove(connection: sqlite3.Connection, client_id: int, entry_type: EntryType, public_id: str) -> bool:
    """Remove the client's image; return False if it is unknown, of another type or another client's."""
    found = "client_id = ? AND entry_type = ? AND public_id = ?"
    return bool(_remove(connection, found, (client_id, entry_type, public_id)))


def remove_archived(connection: sqlite3.Connection, before: str, limit: int) -> list[Removed]:
    """Remove up to `limit` images that were archived before a moment, and return them. Favourites stay."""
    return _remove(
        connection,
        "id IN (SELECT id FROM catalog WHERE archived_at < ? AND NOT favourite ORDER BY archived_at LIMIT ?)",
        (before, limit),
    )


def remove_oldest(connection: sqlite3.Connection, limit: int) -> list[Removed]:
    """Remove up to `limit` images, first those archived longest, then the oldest, and return them. Favourites stay."""
    return _remove(
        connection,
        "id IN (SELECT id FROM catalog WHERE NOT favourite"
        " ORDER BY archived_at IS NULL, coalesce(archived_at, created_at) LIMIT ?)",
        (limit,),
    )


def _remove(connection: sqlite3.Connection, which: str, values: tuple[Any, ...]) -> list[Removed]:
    entries = connection.execute(
        f"DELETE FROM catalog WHERE {which} RETURNING public_id, artifact_id,"
        " (SELECT public_id FROM jobs WHERE jobs.id = job_id) AS job",
        values,
    ).fetchall()
    for entry in entries:
        artifact = connection.execute(
            "UPDATE artifacts SET removed_at = ? WHERE id = ? RETURNING path", (now(), entry["artifact_id"])
        ).fetchone()
        connection.execute("INSERT OR IGNORE INTO removed_files (path) VALUES (?)", (artifact["path"],))
    return [Removed(entry["public_id"], entry["job"]) for entry in entries]


def files(connection: sqlite3.Connection) -> list[str]:
    """Return the files of removed images that may still be on disk, relative to the images folder."""
    return [row["path"] for row in connection.execute("SELECT path FROM removed_files")]


def forget_files(connection: sqlite3.Connection, paths: Iterable[str]) -> None:
    """Take files from the list: they are gone."""
    connection.executemany("DELETE FROM removed_files WHERE path = ?", [(path,) for path in paths])
