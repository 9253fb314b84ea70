"""`backlot keys`: the keys by which clients are known."""

import click
import msgspec

from server.keys import CLIENT, new_key
from server.ledger import clients, reports
from server.ledger.clients import Capability
from server.operator.arguments import Name, Whole
from server.operator.data_folder import reading, writing
from server.operator.errors import CommandError
from server.operator.output import json_option, show, show_table
from server.settings import read_settings


@click.group()
def keys() -> None:
    """API keys."""


@keys.command()
@click.argument("name", metavar="CLIENT", type=Name())
@click.option(
    "--priority",
    type=Whole(-4, 4),
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
@json_option
def add(name: str, priority: int, capabilities: tuple[str, ...], as_json: bool) -> None:
    """Make another key for a client and print it, this once."""
    with writing(read_settings().database) as connection:
        client = clients.named(connection, name)
        allowed = tuple(map(Capability, capabilities))
        key = new_key(connection, client.id, test=client.test, capabilities=allowed, priority=priority)
    show({"name": name, "key": key, "capabilities": capabilities}, key, as_json=as_json)


@keys.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the keys by their first characters."""
    with reading(read_settings().database) as connection:
        rows = reports.keys(connection)
    show_table(msgspec.to_builtins(rows), as_json=as_json)


@keys.command()
@click.argument("which", metavar="KEY|CLIENT", type=Name())
@json_option
def revoke(which: str, as_json: bool) -> None:
    """Revoke a key, or all keys of a client."""
    # A whole key is as good as its first characters, so that it can be pasted from wherever it leaked.
    hint = which[:14] if which.startswith("sk_") else which
    with writing(read_settings().database) as connection:
        revoked = clients.revoke_keys(connection, hint)
    if not revoked:
        raise CommandError(f"no key to revoke is known as {hint!r}; `backlot keys list` shows them")
    show({"revoked": revoked}, f"{revoked} key{'s'[: revoked > 1]} revoked", as_json=as_json)
