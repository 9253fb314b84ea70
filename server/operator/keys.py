"""`backlot keys`: the keys by which clients are known."""

from datetime import datetime

import click

from server.clock import as_text
from server.keys import digest_of, new_key
from server.ledger import clients, reports
from server.ledger.clients import CLIENT, Capability, KeyTerms
from server.operator.arguments import client_name, text, when, whole
from server.operator.ledger import reading, writing
from server.operator.output import json_option, show, show_table
from server.settings import read_settings


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@click.argument("name", metavar="CLIENT", type=client_name)
@click.option(
    "--priority",
    type=whole(-4, 4),
    metavar="N",
    default="0",
    help="−4 to 4: each step doubles the client's share of the GPU; 0 is usual.",
)
@click.option(
    "--capability",
    "capabilities",
    type=click.Choice([capability.value for capability in Capability]),
    multiple=True,
    default=[capability.value for capability in CLIENT],
    show_default=True,
    help="May be given more than once.",
)
@click.option("--label", type=text, default="", help="What it is for.")
@click.option("--expires", type=when, help="When it stops to be good: a date, a time, or 30d for 30 days.")
@json_option
def add(
    name: str, priority: int, capabilities: tuple[str, ...], label: str, expires: datetime | None, as_json: bool
) -> None:
    """Make another key for a client and print it, this once."""
    terms = KeyTerms(
        capabilities=tuple(map(Capability, dict.fromkeys(capabilities))),
        priority=priority,
        label=label,
        expires_at=None if expires is None else as_text(expires),
    )
    with writing(read_settings()) as connection:
        client = clients.named(connection, name)
        key = new_key(connection, client.id, test=client.test, terms=terms)
    answer = {"name": name, "key": key, "capabilities": terms.capabilities, "expires_at": terms.expires_at}
    show(answer, key, as_json=as_json)


@keys.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the keys by their first characters."""
    with reading(read_settings()) as connection:
        rows = reports.keys(connection)
    show_table(rows, as_json=as_json)


@keys.command()
@click.argument("which", metavar="KEY|CLIENT", type=client_name)
@json_option
def revoke(which: str, as_json: bool) -> None:
    """Revoke a key, or all keys of a client."""
    with writing(read_settings()) as connection:
        revoked = 1
        if which.startswith("sk_"):
            clients.revoke_key(connection, which, digest_of(which))
        else:
            revoked = clients.revoke_keys_of(connection, which)
    show({"revoked": revoked}, f"{revoked} key{'s'[: revoked > 1]} revoked", as_json=as_json)
