"""`backlot db`: the database file."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import click

from server.clock import now
from server.data_folder import database_errors_explained, hold
from server.ledger import artifacts
from server.ledger.backup import back_up, ready_to_use
from server.ledger.connection import connect
from server.operator.errors import CommandError
from server.operator.ledger import reading
from server.operator.output import json_option, show
from server.settings import Settings, read_settings


@click.group("db")
def database() -> None:
    """Back up and restore the database."""


@database.command()
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@json_option
def backup(target: Path, as_json: bool) -> None:
    """Copy the database to FILE, also while the server runs, and the key of image links to FILE.links.key."""
    settings = read_settings()
    if not target.name:
        raise CommandError("no file is named; name a new file for the copy")
    with reading(settings) as connection:
        _make(target)
        try:
            back_up(connection, target)
        except BaseException as error:
            # Remove half a copy, so that its name is free for the next try.
            target.unlink()
            if isinstance(error, sqlite3.OperationalError):
                raise CommandError(f"{target} cannot be written: {error}; see that its disk has room") from error
            raise
    if settings.links_key.exists():
        _copy_secret(settings.links_key, _key_beside(target))
    show({"file": str(target), "bytes": target.stat().st_size}, f"{target} is a good copy", as_json=as_json)


@database.command()
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@json_option
def restore(source: Path, as_json: bool) -> None:
    """Put a copy made by `backlot db backup` in the place of the database, while no server runs.

    The present database stays beside it under another name.
    """
    settings = read_settings()
    if not source.is_file():
        raise CommandError(f"there is no file {source}; name a copy that `backlot db backup` made")
    if settings.database.exists() and source.samefile(settings.database):
        raise CommandError(f"{source} is the database itself; name a copy that `backlot db backup` made")
    partial = settings.database.with_name(f"{settings.database.name}.partial")
    with database_errors_explained(settings.database):
        settings.data.mkdir(parents=True, exist_ok=True)
        with hold(settings.data):
            ready_to_use(source, partial)
            aside = _set_aside(settings)
            partial.replace(settings.database)
            if _key_beside(source).exists():
                settings.keys.mkdir(mode=0o700, exist_ok=True)
                _copy_secret(_key_beside(source), settings.links_key)
            _give_to_owner(settings)
    with reading(settings) as connection:
        kept = artifacts.kept_paths(connection)
    missing = sum(not (settings.images / path).exists() for path in kept)
    show(
        {
            "database": str(settings.database),
            "aside": str(aside) if aside else None,
            "images": len(kept),
            "missing": missing,
        },
        f"{settings.database} is the copy {source} now"
        + (f"; the one before is {aside}" if aside else "")
        + (f"\n{missing} of its {len(kept)} images are not in {settings.images}; copy them there" if missing else ""),
        as_json=as_json,
    )


def _make(target: Path) -> None:
    """Make the file of a copy, which must be new. Raises CommandError."""
    try:
        for file in (target, _key_beside(target)):
            if file.exists():
                raise CommandError(f"{file} exists already; name a new file")
        target.touch(mode=0o600, exist_ok=False)
    except FileNotFoundError:
        raise CommandError(f"there is no folder {target.parent} for the copy; make it first") from None
    except OSError as error:
        raise CommandError(f"{target} cannot be made: {error.strerror}; name another file") from error


def _key_beside(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.links.key")


def _copy_secret(source: Path, target: Path) -> None:
    target.touch(mode=0o600)
    shutil.copyfile(source, target)


def _set_aside(settings: Settings) -> Path | None:
    """Keep the present database under a second name, with its log, and return that; None if there is no database.

    It keeps its own name too, until the backup takes that in one step: a kill leaves one or the other.
    """
    database = settings.database
    aside = database.with_name(f"{database.name}.before-{now().replace(':', '')}")
    if database.exists():
        # One that is damaged keeps its log.
        with suppress(sqlite3.DatabaseError), closing(connect(database, patience_s=1)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        try:
            aside.hardlink_to(database)
        except OSError:
            # Not every file system has second names.
            shutil.copy2(database, aside)
    # A log without its database would be taken for the copy's.
    for end in ("-wal", "-shm"):
        part = database.with_name(database.name + end)
        if part.exists():
            part.rename(aside.with_name(aside.name + end))
    return aside if aside.exists() else None


def _give_to_owner(settings: Settings) -> None:
    """Give what root has restored to the owner of the data folder, who runs the server."""
    if os.geteuid() != 0:
        return
    owner = settings.data.stat()
    for path in (settings.database, settings.keys, settings.links_key, settings.data / "server.lock"):
        if path.exists():
            os.chown(path, owner.st_uid, owner.st_gid)
