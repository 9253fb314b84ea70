"""Cancels that were promised to clients while the ledger took no writes.

A client is told that its job is cancelled although another program keeps the database locked, or the disk is full. If the
server ends before that does, the promise is kept by a file: one job id a line, which the next start reads.
"""

import os
from collections.abc import Collection
from pathlib import Path

from pipelines.output.whole_file import whole_file


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
        """Return the job ids, without a last line that a kill cut short. A line that a failing disk garbled names no job."""
        try:
            text = self._path.read_text(errors="replace")
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def remove(self, job_ids: Collection[str]) -> None:
        """Remove jobs that the ledger knows; those that were added meanwhile stay. Raises OSError."""
        left = [job_id for job_id in self.read() if job_id not in job_ids]
        if not left:
            self._path.unlink(missing_ok=True)
            return
        with whole_file(self._path) as file:
            file.write("".join(f"{job_id}\n" for job_id in left).encode())
