"""Download one model, with a bar for people who watch."""

import asyncio
import logging
import sys

import click

from pipelines.hub.messages import Downloaded, Progress
from pipelines.model_card import ModelCard
from server.downloading import DownloadFailed, amount, download
from server.operator.errors import CommandError


def fetch_alone(card: ModelCard) -> Downloaded:
    """Download the model and return where it is. Raises CommandError if it cannot be downloaded."""
    # What the download process logs is for a server's log; the error's message is enough for people.
    logging.basicConfig(handlers=[logging.NullHandler()])
    try:
        return asyncio.run(_fetch(card))
    except DownloadFailed as error:
        raise CommandError(f"{error}; what has arrived stays, so the next try goes on from there") from error
    except OSError as error:
        raise CommandError(f"the download process cannot be started: {error}") from error


async def _fetch(card: ModelCard) -> Downloaded:
    label = f"{card.name} from {card.weights.hub}"
    # The bar goes to standard error, since scripts read standard output.
    with click.progressbar(length=1, label=label, file=sys.stderr, item_show_func=_amount) as bar:

        def show(progress: Progress) -> None:
            bar.length = max(progress.total_bytes, 1)
            bar.update(progress.done_bytes - bar.pos, progress)

        found = await download(card, show)
        bar.update((bar.length or 1) - bar.pos)
        return found


def _amount(progress: Progress | None) -> str:
    return "" if progress is None else amount(progress)
