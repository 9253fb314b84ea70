"""The files of an open database, which must stay the ones that were opened."""

from pathlib import Path


class DatabaseMissing(Exception):
    """The database's file was removed or replaced. What is written to the open file now would be lost with it."""


class OpenedFiles:
    """The identities of the database and its write-ahead log."""

    def __init__(self, path: Path) -> None:
        self._opened = {path: _identity(path)}
        self._log = path.with_name(f"{path.name}-wal")

    def check(self) -> None:
        """Raise DatabaseMissing if one of the files is gone, or another file than at the last check."""
        # SQLite makes its write-ahead log with the first write and keeps it as long as the database is open.
        if self._log not in self._opened and (found := _identity(self._log)) is not None:
            self._opened[self._log] = found
        for path, opened in self._opened.items():
            if _identity(path) != opened:
                raise DatabaseMissing(
                    f"{path} was removed or replaced while the server runs: put it back, or stop the server and restore a"
                    " backup"
                )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from all others, whatever its name; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
