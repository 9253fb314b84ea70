"""The data folder when the server starts: made if it is not there, and tried before anything relies on it."""

import fcntl
import os
import pwd
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from server.ledger.connection import migrate
from server.operator_error import OperatorError
from server.settings import Settings

#: The file in the data folder that a running server holds open and locked.
LOCK = "server.lock"


class Unusable(OperatorError):
    """A file or folder cannot be used. The message names it, and says why and what to do."""


class AlreadyRunning(OperatorError):
    """Another server has this data folder."""


def prepare(settings: Settings) -> None:
    """Make the folders, and try to write to all that the server will write to. Raises Unusable."""
    for folder in (settings.data, settings.images, settings.thumbnails, settings.previews, settings.logs):
        _try_folder(folder)
    for file in ("server.log", "gpu-process.log"):
        _try_file(settings.logs / file)


def hold(data: Path) -> IO[str]:
    """Lock a data folder for as long as the returned file is open. Raises AlreadyRunning and Unusable."""
    path = data / LOCK
    with _errors_explained(path):
        lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AlreadyRunning(
            f"another server is running on the data folder {data.absolute()}; "
            "stop it first, or set BACKLOT_DATA to another folder"
        ) from None
    return lock


def prepare_database(path: Path) -> None:
    """Make the database, or bring it to the present schema. Raises Unusable and DatabaseNewer."""
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        _try_file(file)
    with database_errors_explained(path):
        migrate(path)


@contextmanager
def database_errors_explained(path: Path) -> Iterator[None]:
    """Raise Unusable in place of what SQLite and the operating system raise about the database."""
    try:
        with _errors_explained(path):
            yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        # The file is not at fault.
        raise
    except sqlite3.OperationalError as error:
        if "no such" in str(error):
            # The file is sound, but has another schema.
            raise
        raise Unusable(
            f"{path} cannot be written: {error}; if another program has it open, end that program, and see that the disk"
            " has room"
        ) from error
    except sqlite3.DatabaseError as error:
        raise Unusable(
            f"{path} is damaged or no database ({error}): restore a copy made with `backlot db backup`, or move it away to"
            " begin with an empty ledger"
        ) from error


def explained(path: Path, error: OSError) -> str:
    """Say what is wrong with a path, and what to do about it."""
    culprit = Path(error.filename) if isinstance(error.filename, str) else path
    if isinstance(error, PermissionError):
        user = _name(os.geteuid())
        owned, owner = _owned(culprit)
        way_out = f"run it as the owner, or give it the folder with chown -R {user}"
        if owner == os.geteuid():
            way_out = "change the mode with chmod; if its file system refuses that, set BACKLOT_DATA to another folder"
        return f"{path} cannot be used: {error.strerror}. {owned}; this runs as {user}: {way_out}"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{path} cannot be used: a file is there instead of a folder; move it away"
    if isinstance(error, IsADirectoryError):
        return f"{path} cannot be used: a folder is there instead of a file; move it away"
    return f"{path} cannot be used: {error.strerror}; mend that, or set BACKLOT_DATA to another folder"


@contextmanager
def _errors_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unusable(explained(path, error)) from error


def _owned(path: Path) -> tuple[str, int | None]:
    """Say who owns the path, and return that user's id. If it cannot be looked at, take the nearest folder above it."""
    for found in (path, *path.absolute().parents):
        try:
            owner = found.stat().st_uid
        except OSError:
            continue
        return f"{found} belongs to {_name(owner)}", owner
    return "Nobody can say whose it is", None


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _try_folder(folder: Path) -> None:
    with _errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def try_to_read(file: Path) -> None:
    """Try to read a file that is there. Raises Unusable."""
    with _errors_explained(file):
        file.open("rb").close()


def _try_file(file: Path) -> None:
    """Try to read and write the file, if there is one. Raises Unusable."""
    with _errors_explained(file), suppress(FileNotFoundError):
        file.open("r+b").close()
