"""`backlot webhooks`: set which receiver is told when a client's jobs end, and see what became of the deliveries."""

import click

from server.ledger import clients
from server.ledger import webhooks as ledger
from server.ledger.webhooks import NoWebhook, WebhookEvent
from server.operator.arguments import client_name, limit_option, ulid
from server.operator.ledger import reading, writing
from server.operator.output import json_option, show, show_table
from server.settings import read_settings
from server.webhooks.signing import new_secret


def address(value: str) -> str:
    """Return the URL of a receiver."""
    # Imported here: httpx takes longer to import than most commands take to run.
    from server.webhooks.address import BadAddress, check

    try:
        check(value)
    except BadAddress as error:
        raise click.BadParameter(str(error)) from None
    return value


def event_types(value: str) -> list[WebhookEvent]:
    """Return the event types between commas."""
    words = [word.strip() for word in value.split(",")]
    if unknown := [word for word in words if word not in set(WebhookEvent)]:
        raise click.BadParameter(f"{unknown[0]!r} is no event; there are {', '.join(WebhookEvent)}")
    return list(map(WebhookEvent, dict.fromkeys(words)))


@click.group()
def webhooks() -> None:
    """Tell receivers of the ends of jobs, and see what became of that."""


@webhooks.command("set")
@click.argument("name", metavar="CLIENT", type=client_name)
@click.argument("url", metavar="URL", type=address)
@click.option(
    "--events",
    metavar="EVENTS",
    type=event_types,
    default=",".join(WebhookEvent),
    show_default=True,
    help="What to tell, between commas.",
)
@json_option
def set_(name: str, url: str, events: list[WebhookEvent], as_json: bool) -> None:
    """Tell the ends of a client's jobs to URL; print the secret of its signatures, which is shown this once."""
    secret = new_secret()
    with writing(read_settings()) as connection:
        client = clients.named(connection, name)
        ledger.put(connection, client.id, url, events, secret)
    show({"client": name, "url": url, "events": events, "secret": secret}, secret, as_json=as_json)


@webhooks.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the webhooks, with how much of what they tell is pending or was given up."""
    with reading(read_settings()) as connection:
        rows = ledger.all_(connection)
    show_table(rows, as_json=as_json)


@webhooks.command()
@click.option("--client", metavar="NAME", type=client_name, help="Only this client's.")
@click.option("--failed", is_flag=True, help="Only those given up, and those whose last try failed.")
@limit_option
@json_option
def deliveries(client: str | None, failed: bool, limit: int, as_json: bool) -> None:
    """Show the webhook deliveries, newest first."""
    with reading(read_settings()) as connection:
        client_id = None if client is None else clients.named(connection, client).id
        rows = ledger.deliveries(connection, client_id, only_failed=failed, limit=limit)
    show_table(rows, as_json=as_json)


@webhooks.command()
@click.argument("ids", metavar="ID...", type=ulid, nargs=-1, required=True)
@json_option
def resend(ids: tuple[str, ...], as_json: bool) -> None:
    """Send deliveries again, with ten new tries; a running server begins within a second."""
    with writing(read_settings()) as connection:
        for webhook_id in ids:
            ledger.resend(connection, webhook_id)
    show({"resent": ids}, f"{len(ids)} deliver{'y' if len(ids) == 1 else 'ies'} will be sent again", as_json=as_json)


@webhooks.command()
@click.argument("name", metavar="CLIENT", type=client_name)
@json_option
def remove(name: str, as_json: bool) -> None:
    """Remove a client's webhook and give up what is pending."""
    with writing(read_settings()) as connection:
        client = clients.named(connection, name)
        if not ledger.remove(connection, client.id):
            raise NoWebhook(name)
    show({"removed": name}, f"{name} is told nothing any more", as_json=as_json)
