"""`backlot db`: the database file."""

from pathlib import Path

import click

from server.ledger.backup import back_up
from server.operator.data_folder import reading
from server.operator.errors import CommandError
from server.operator.output import json_option, show
from server.settings import read_settings


@click.group("db")
def database() -> None:
    """The database."""


@database.command()
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@json_option
def backup(target: Path, as_json: bool) -> None:
    """Copy the database to FILE, also while the server runs."""
    if target.exists():
        raise CommandError(f"{target} exists already; name a new file")
    if not target.absolute().parent.is_dir():
        raise CommandError(f"there is no folder {target.parent} for the copy; make it first")
    with reading(read_settings()) as connection:
        back_up(connection, target)
    show({"file": str(target), "bytes": target.stat().st_size}, f"{target} is a good copy", as_json=as_json)
