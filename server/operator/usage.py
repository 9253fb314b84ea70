"""`backlot usage`: what the credits went into."""

from datetime import datetime

import click
import msgspec

from server.clock import span
from server.ledger.usage import UsageBy, usage_by
from server.operator.arguments import client_name, past
from server.operator.ledger import reading
from server.operator.output import json_option, show_table
from server.settings import read_settings


@click.command()
@click.option("--client", metavar="NAME", type=client_name, help="Only this client's.")
@click.option("--since", metavar="WHEN", type=past, help="Jobs accepted from then on: 2026-11-25, a time, or 7d ago.")
@click.option("--until", metavar="WHEN", type=past, help="Jobs accepted before then.")
@click.option(
    "--by",
    type=click.Choice([kind.value for kind in UsageBy]),
    multiple=True,
    default=[UsageBy.CLIENT.value, UsageBy.DAY.value],
    show_default=True,
    help="What to sum up apart; may be given more than once.",
)
@json_option
def usage(
    client: str | None, since: datetime | None, until: datetime | None, by: tuple[str, ...], as_json: bool
) -> None:
    """Sum up jobs, images and credits, by client, day or model. Days are in UTC; credits spent are net of refunds."""
    with reading(read_settings()) as connection:
        rows = msgspec.to_builtins(usage_by(connection, set(map(UsageBy, by)), *span(since, until), client=client))
    not_asked = set(UsageBy) - set(by)
    show_table([{name: row[name] for name in row if name not in not_asked} for row in rows], as_json=as_json)
