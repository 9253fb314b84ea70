"""Room on the disk that is kept for the ledger: it is given up when the disk is full, so that refunds can be written."""

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

#: Enough for some ten thousand rows; a refund takes three.
RESERVE_BYTES = 16 * 1024 * 1024


class Reserve:
    """A file of real blocks beside the database."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def is_held(self) -> bool:
        return self._path.exists()

    def hold(self) -> None:
        """Take the room; if the disk has less, take nothing and log that."""
        partial = self._path.with_name(f"{self._path.name}.partial")
        try:
            with partial.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
            partial.replace(self._path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            log.warning("There is no room for the ledger's reserve, %s: %s", self._path, error.strerror)

    def release(self) -> bool:
        """Give the room up for the next writes; return False if there was none."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        log.warning("The disk is full; %d MiB kept for refunds are free for the ledger now", RESERVE_BYTES >> 20)
        return True
