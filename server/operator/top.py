"""`backlot top`: what the server does at this moment, live in the terminal, by its operator's routes."""

import os
from functools import partial

import click

from server.addresses import url_of
from server.operator.errors import CommandError
from server.operator.output import json_option, show
from server.settings import read_settings


@click.command()
@click.option("--url", help="The server's address; default BACKLOT_URL, or this box's by its settings.")
@click.option("--key", help="A key with the capability admin; default BACKLOT_KEY.")
@click.option("--every", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Show it once and end.")
@json_option
def top(url: str | None, key: str | None, every: float, once: bool, as_json: bool) -> None:
    """Show devices, models and the queue, live; Ctrl-C ends it."""
    settings = read_settings()
    base = url or os.environ.get("BACKLOT_URL") or url_of(settings.host, settings.port)
    key = key or os.environ.get("BACKLOT_KEY")
    if not key:
        raise CommandError(
            "no key is given: set BACKLOT_KEY or --key to one that `backlot keys add CLIENT --capability admin` made"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CommandError("the key has characters that no key has; copy it again, without spaces or line breaks")
    # Imported here: other commands do not wait for HTTP and the live screen.
    import httpx

    from server.operator.top_live import look, show_live

    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=10) as client:
        if as_json:
            show(look(client, base), "", as_json=True)
        else:
            show_live(partial(look, client, base), every, once=once)
