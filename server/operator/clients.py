"""`backlot clients`: the clients of the server and their credits."""

import secrets
from hashlib import sha256

import click

from server.keys import new_client
from server.ledger import clients as client_ledger
from server.ledger import credits, reports
from server.ledger.credits import MOST_CREDITS
from server.ledger.idempotency import Idempotency, KeyUsed
from server.operator.arguments import client_name, new_client_name, text, whole
from server.operator.errors import CommandError
from server.operator.ledger import reading, writing
from server.operator.output import json_option, show, show_table
from server.settings import read_settings


@click.group()
def clients() -> None:
    """Add, list and change clients, and grant them credits."""


@clients.command()
@click.argument("name", type=new_client_name)
@click.option("--credits", "credits_", type=whole(0, MOST_CREDITS), metavar="N", default="0", help="Its first credits.")
@click.option("--test", is_flag=True, help="Give it sk_test_ keys, which metrics tell apart; it pays like any other.")
@json_option
def add(name: str, credits_: int, test: bool, as_json: bool) -> None:
    """Make a client and print its key, which is shown this once."""
    with writing(read_settings()) as connection:
        key = new_client(connection, name, credits_, test=test)
    show({"name": name, "key": key, "credits": credits_}, key, as_json=as_json)


@clients.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the clients with their balances, keys and jobs."""
    with reading(read_settings()) as connection:
        rows = reports.clients(connection)
    show_table(rows, as_json=as_json)


@clients.command(context_settings={"ignore_unknown_options": True})  # -5 is a number, no option
@click.argument("name", type=client_name)
@click.argument("credits_", metavar="N", type=whole(-MOST_CREDITS, MOST_CREDITS, zero=False))
@click.option("--note", type=text, default="", help="What the client's transactions call it.")
@click.option(
    "--once", metavar="KEY", type=text, help="Grant once for this KEY in 24 hours, however often this is run."
)
@json_option
def grant(name: str, credits_: int, note: str, once: str | None, as_json: bool) -> None:
    """Give a client N credits; a negative N takes credits back, as many as it has at most."""
    idempotency = None
    if once is not None:
        if not once:
            raise click.BadParameter("the KEY is empty", param_hint="--once")
        # The keys of the client's own requests have no space.
        idempotency = Idempotency(
            f"grant {once}", "backlot clients grant", sha256(f"{credits_} {note}".encode()).digest()
        )
    with writing(read_settings()) as connection:
        client = client_ledger.named(connection, name)
        try:
            balance = credits.grant_once(connection, client.id, credits_, note, client.id, idempotency).balance
        except KeyUsed:
            raise CommandError(
                f"--once {once} was given with another grant to {name} in the last 24 hours; give another KEY"
            ) from None
    show({"name": name, "balance": balance}, f"{name} has {balance} credits", as_json=as_json)


@clients.command()
@click.argument("name", type=client_name)
@click.argument("new_name", type=new_client_name)
@json_option
def rename(name: str, new_name: str, as_json: bool) -> None:
    """Call a client by another name; its keys, jobs, pictures and credits stay."""
    with writing(read_settings()) as connection:
        client_ledger.rename(connection, client_ledger.named(connection, name).id, new_name)
    show({"name": new_name, "was": name}, f"{name} is called {new_name} now", as_json=as_json)


@clients.command()
@click.argument("name", type=client_name)
@json_option
def disable(name: str, as_json: bool) -> None:
    """Refuse all keys of a client until it is enabled; its jobs go on, and its credits stay."""
    _set_disabled(name, as_json, disabled=True)


@clients.command()
@click.argument("name", type=client_name)
@json_option
def enable(name: str, as_json: bool) -> None:
    """Take the keys of a client again."""
    _set_disabled(name, as_json, disabled=False)


def _set_disabled(name: str, as_json: bool, *, disabled: bool) -> None:
    with writing(read_settings()) as connection:
        client_ledger.set_disabled(connection, client_ledger.named(connection, name).id, disabled=disabled)
    show({"name": name, "disabled": disabled}, f"{name} is {'dis' if disabled else 'en'}abled", as_json=as_json)


@clients.command()
@click.argument("name", type=client_name)
@json_option
def secret(name: str, as_json: bool) -> None:
    """Make a new signing secret for a client and print it."""
    new = secrets.token_urlsafe(32)
    with writing(read_settings()) as connection:
        client = client_ledger.named(connection, name)
        client_ledger.set_signing_secret(connection, client.id, new)
    show({"name": name, "signing_secret": new}, new, as_json=as_json)
