"""The process that downloads a model for the server or a command: start it, follow it, end it."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from typing import cast

import msgspec

from pipelines.hub.messages import Downloaded, Logged, Message, Progress, Refused, decode
from pipelines.model_card import ModelCard

log = logging.getLogger(__name__)

#: End a download that is silent for this many seconds. While bytes arrive, it may take as long as it likes.
SILENCE_S = 120.0


class DownloadFailed(Exception):
    """A model could not be downloaded; the message says why. What has arrived stays for the next try."""


async def download(
    card: ModelCard, on_progress: Callable[[Progress], None], silence_s: float = SILENCE_S
) -> Downloaded:
    """Download what this box lacks of a hub's model, and return where it is. A cancel ends the process.

    Raises DownloadFailed, and OSError if the process cannot be started.
    """
    weights = card.weights
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pipelines.hub", weights.hub or "", weights.revision or "", weights.variant or "", weights.file or ""),
        *(["pickle"] if weights.pickle else []),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        # Otherwise the hub's own progress bars go to the terminal.
        env={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        # Ctrl-C in the terminal is for the server or the command, which then ends this process.
        start_new_session=True,
    )
    lines = cast(asyncio.StreamReader, process.stdout)
    try:
        while True:
            match await _next_message(card, lines, silence_s):
                case Progress() as progress:
                    on_progress(progress)
                case Logged(level=level, text=text):
                    log.log(level, "%s: %s", card.name, text)
                case Downloaded() as downloaded:
                    return downloaded
                case Refused(message=message):
                    raise DownloadFailed(message)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _next_message(card: ModelCard, lines: asyncio.StreamReader, silence_s: float) -> Message:
    try:
        line = await asyncio.wait_for(lines.readline(), silence_s)
        return decode(line)
    except TimeoutError:
        silence = f"nothing of {card.weights.hub} arrived for {silence_s:g} s; see to the network"
        raise DownloadFailed(silence) from None
    except (ValueError, msgspec.MsgspecError):
        # The process's standard error says why it ended.
        raise DownloadFailed(f"the download of {card.weights.hub} ended without a word") from None


def amount(progress: Progress) -> str:
    """Return how far a download has come, such as `1.2 of 6.9 GB, 24.0 MB/s`."""
    done, total, rate = (part / 1e6 for part in (progress.done_bytes, progress.total_bytes, progress.bytes_per_s))
    size = f"{done / 1e3:.1f} of {total / 1e3:.1f} GB" if total >= 1e3 else f"{done:.1f} of {total:.1f} MB"
    return f"{size}, {rate:.1f} MB/s"
