"""A consistent copy of the ledger, made while the server writes to it."""

import sqlite3
from contextlib import closing
from pathlib import Path


class DamagedCopy(Exception):
    def __init__(self, target: Path, verdict: str) -> None:
        super().__init__(f"the copy {target} is damaged: {verdict}")


def back_up(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the whole database into the new file `target`, by SQLite's online backup. Raises DamagedCopy."""
    with closing(sqlite3.connect(target)) as copy:
        # Only its owner may read it: it holds what clients asked for.
        target.chmod(0o600)
        connection.backup(copy)
        verdict = copy.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        raise DamagedCopy(target, verdict)
