"""`backlot requests`: the request log."""

import click

from server.ledger import reports
from server.operator.arguments import client_name, limit_option
from server.operator.ledger import reading
from server.operator.output import json_option, show_table
from server.settings import read_settings


@click.command()
@click.option("--client", metavar="NAME", type=client_name, help="Only this client's.")
@click.option("--failed", is_flag=True, help="Only those with status 400 and above, and those whose job failed.")
@limit_option
@json_option
def requests(client: str | None, failed: bool, limit: int, as_json: bool) -> None:
    """Show the request log, newest first."""
    with reading(read_settings()) as connection:
        rows = reports.requests(connection, client, only_failed=failed, limit=limit)
    show_table(rows, as_json=as_json)
