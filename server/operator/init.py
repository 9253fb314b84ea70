"""`backlot init`: make a data folder."""

import click

from server.data_folder import prepare, prepare_database
from server.operator.output import json_option, show
from server.settings import read_settings


@click.command()
@json_option
def init(as_json: bool) -> None:
    """Make the data folder with an empty database, before the server's first start; one that exists stays as it is."""
    settings = read_settings()
    existed = settings.database.exists()
    prepare(settings)
    prepare_database(settings.database)
    path = settings.database.absolute()
    text = f"{path} was there already" if existed else f"made {path}"
    show({"database": str(path), "made": not existed}, text, as_json=as_json)
