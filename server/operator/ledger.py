"""The ledger, opened by a command whether or not the server is running."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

from pipelines.printable import printable
from server.data_folder import LOCK, database_errors_explained, try_to_read
from server.ledger.connection import connect, migrate, transaction
from server.operator.errors import CommandError
from server.settings import Settings


@contextmanager
def reading(settings: Settings) -> Iterator[sqlite3.Connection]:
    """Open the ledger to read it. Raises CommandError if there is none, and Unusable."""
    _look_for_it(settings)
    try:
        with (
            database_errors_explained(settings.database),
            closing(connect(settings.database, read_only=True)) as connection,
        ):
            yield connection
    except sqlite3.OperationalError as error:
        if "no such" not in str(error):
            raise
        raise CommandError(
            f"{settings.database} was written by an older version ({error}); start the server, which brings it up to date"
        ) from error


@contextmanager
def writing(settings: Settings) -> Iterator[sqlite3.Connection]:
    """Run one durable transaction, and say on the error output in which folder. Raises CommandError if there is no ledger."""
    with writing_quietly(settings) as connection:
        yield connection
    used = settings.database.absolute()
    print(printable(f"backlot: changed {used}{_elsewhere(settings)}"), file=sys.stderr)


@contextmanager
def writing_quietly(settings: Settings) -> Iterator[sqlite3.Connection]:
    """Run one durable transaction, as a part of a command that has said in which folder."""
    _look_for_it(settings)
    with database_errors_explained(settings.database):
        migrate(settings.database)
        with closing(connect(settings.database)) as connection, transaction(connection):
            yield connection


def _look_for_it(settings: Settings) -> None:
    if not settings.database.exists():
        raise CommandError(
            f"there is no database at {settings.database.absolute()}{_elsewhere(settings)}; set BACKLOT_DATA to the server's"
            " data folder, start the server once, or make one with `backlot init`"
        )
    try_to_read(settings.database)


def _elsewhere(settings: Settings) -> str:
    """Return a hint if servers on this box run on other data folders, and none on this one."""
    used = _data_folders_in_use()
    if not used or settings.data.resolve() in used:
        return ""
    servers = "the server on this box runs" if len(used) == 1 else "the servers on this box run"
    return f", but {servers} on {', '.join(map(str, used))}"


def _data_folders_in_use() -> list[Path]:
    """Return the folders of the servers whose files this user may see. A server holds its folder's lock file open."""
    found = set()
    for process in psutil.process_iter():
        try:
            files = process.open_files()
        except psutil.Error:
            # The process has ended, or is another user's.
            continue
        found |= {Path(file.path).parent for file in files if Path(file.path).name == LOCK}
    return sorted(found)
