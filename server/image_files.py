"""Deletes the files of removed images. The ledger lists them until they are gone, so a killed server leaves none behind."""

import asyncio
import logging
from pathlib import Path

import msgspec

from server.ledger import removals
from server.ledger.database import Database
from server.thumbnails import Thumbnails

log = logging.getLogger(__name__)


class ImageFiles(msgspec.Struct, frozen=True):
    """The folder of images, and their thumbnails."""

    database: Database
    folder: Path
    thumbnails: Thumbnails

    async def remove_listed(self) -> bool:
        """Remove the files that the ledger lists, with their thumbnails, and return whether all of them are gone.

        A file that cannot be removed stays on the list.
        """
        paths = await self.database.read(removals.files)
        gone = await asyncio.to_thread(self._remove, paths)
        if gone:
            await self.database.write(removals.forget_files, gone)
        return len(gone) == len(paths)

    def _remove(self, paths: list[str]) -> list[str]:
        gone = []
        for path in paths:
            file = self.folder / path
            try:
                file.unlink(missing_ok=True)
                self.thumbnails.forget(path)
            except OSError as error:
                log.warning("The removed image %s cannot be deleted: %s; it is tried again", file, error)
            else:
                gone.append(path)
        return gone
