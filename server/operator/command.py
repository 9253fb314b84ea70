"""`backlot`, the operator's command. It works on the data folder, whether or not the server is running."""

import sqlite3
import sys

import click

from pipelines.printable import printable_lines
from server.operator.clients import clients
from server.operator.database import database
from server.operator.init import init
from server.operator.jobs import jobs
from server.operator.keys import keys
from server.operator.models import models
from server.operator.replay import replay
from server.operator.requests import requests
from server.operator.top import top
from server.operator.usage import usage
from server.operator.webhooks import webhooks
from server.operator_error import OperatorError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="backlot", message="%(version)s")
def backlot() -> None:
    """Operate a Backlot server; settings come from BACKLOT_DATA and BACKLOT_MODELS."""


for group in (init, clients, keys, jobs, top, usage, requests, webhooks, replay, models, database):
    backlot.add_command(group)


def main() -> None:
    """Run the command that the arguments name; exit with 2 for wrong arguments, with 1 if it cannot be done."""
    try:
        backlot(prog_name="backlot")
    except (OperatorError, sqlite3.Error) as error:
        sys.exit(f"backlot: {printable_lines(str(error))}")


if __name__ == "__main__":
    main()
