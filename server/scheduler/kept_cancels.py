"""Cancels that were promised to clients while the ledger took no writes.

A client is told that its job is cancelled although another program keeps the database locked. If the server ends before the
lock does, that promise is kept by a file: one job id a line, which the next start reads.
"""

import os
from pathlib import Path


class KeptCancels:
    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, job_id: str) -> None:
        """Add a job; it is on disk when this returns. Raises OSError."""
        with self._path.open("a") as file:
            file.write(f"{job_id}\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[str]:
        """Return the jobs. A last line that a kill cut short is none, and bytes that a failing disk left name no job."""
        try:
            text = self._path.read_text(errors="replace")
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def clear(self) -> None:
        """Remove the file: the ledger knows them all."""
        self._path.unlink(missing_ok=True)
