"""The journal of a batch, kept in its output folder in one small SQLite file.

Each change is on disk before the next step is taken. The file is locked while a batch runs, and the lock ends with the
process, however that ends.
"""

import secrets
import sqlite3
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

NAME = ".backlot-batch.db"


class State(str, Enum):
    #: About to be submitted, or submitted without a known answer.
    SENDING = "sending"
    #: A job was made and paid.
    ACCEPTED = "accepted"
    #: The pictures are in the folder.
    DONE = "done"
    #: The job failed and its credits are back, or there never was one.
    FAILED = "failed"
    #: The server refused to make a job.
    REFUSED = "refused"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of one row."""

    identity: str
    state: State
    #: Counts the row's jobs, since a failed one is followed by another. The file keeps the name that earlier versions wrote.
    job_number: int = msgspec.field(name="attempt")
    idempotency_key: str
    #: The JSON that is submitted, kept since it must not differ when it is sent again.
    body: str
    #: Unix time before the key's first use.
    sent_at: float
    job_id: str = ""
    #: Paths within the folder, decided before the download and kept.
    files: list[str] = []
    #: Bytes of each file, once they are there.
    sizes: list[int] = []
    message: str = ""


class InUse(Exception):
    """Another batch is running on the folder."""


class Journal:
    """The journal of one folder.

    Raises InUse if another process has it open, sqlite3.Error if the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(folder / NAME, isolation_level=None, timeout=0)
        try:
            self._open()
        except sqlite3.OperationalError as error:
            self._connection.close()
            if "locked" not in str(error):
                raise
            raise InUse(f"another batch is running on {folder}; let it end, or choose another folder") from error
        self.records = {record.identity: record for record in self._read()}
        self.batch_id = str(self._connection.execute("SELECT batch_id FROM batch").fetchone()[0])

    def _open(self) -> None:
        run = self._connection.execute
        run("PRAGMA synchronous = FULL")
        # Keeps the lock of the transaction that follows until the file is closed.
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("BEGIN EXCLUSIVE")
        run("CREATE TABLE IF NOT EXISTS batch (batch_id TEXT NOT NULL)")
        # A record is called an entry in the file, as earlier versions wrote it.
        run("CREATE TABLE IF NOT EXISTS entries (identity TEXT PRIMARY KEY, entry TEXT NOT NULL)")
        run("INSERT INTO batch SELECT ? WHERE NOT EXISTS (SELECT 1 FROM batch)", (secrets.token_hex(8),))
        run("COMMIT")

    def _read(self) -> list[Record]:
        rows = self._connection.execute("SELECT entry FROM entries")
        return [msgspec.json.decode(text, type=Record) for (text,) in rows]

    def put(self, record: Record) -> Record:
        """Keep a record on disk, in place of the row's earlier one, and return it."""
        text = msgspec.json.encode(record).decode()
        self._connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (record.identity, text))
        self.records[record.identity] = record
        return record

    def change(self, record: Record, **changes: Any) -> Record:
        """Keep a record with these changes, and return it."""
        return self.put(msgspec.structs.replace(record, **changes))

    def close(self) -> None:
        self._connection.close()
