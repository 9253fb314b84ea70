"""Deletes the files of removed images. The ledger lists them until they are gone, so a killed server leaves none behind."""

import asyncio
import logging
from pathlib import Path

from server.ledger import removals
from server.ledger.database import Database
from server.thumbnails import Thumbnails

log = logging.getLogger(__name__)


async def remove_listed(database: Database, images: Path, thumbnails: Thumbnails) -> bool:
    """Remove the files that the ledger lists, with their thumbnails, and return whether all of them are gone.

    A file that cannot be removed stays on the list.
    """
    paths = await database.read(removals.files)
    gone = await asyncio.to_thread(_remove, paths, images, thumbnails)
    if gone:
        await database.write(removals.forget_files, gone)
    return len(gone) == len(paths)


def _remove(paths: list[str], images: Path, thumbnails: Thumbnails) -> list[str]:
    gone = []
    for path in paths:
        try:
            (images / path).unlink(missing_ok=True)
            thumbnails.forget(path)
        except OSError as error:
            log.warning("The removed image %s cannot be deleted: %s; it is tried again", images / path, error)
        else:
            gone.append(path)
    return gone
