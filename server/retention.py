"""Removes old images, if the operator's settings ask for it: never a favourite, and never with a refund."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from sqlite3 import Connection

from server import metrics
from server.clock import ago
from server.disk_room import GIB
from server.image_files import ImageFiles
from server.ledger import artifacts, removals
from server.ledger.database import Database
from server.ledger.removals import Removed
from server.settings import Settings

log = logging.getLogger(__name__)

RETAIN_EVERY_S = 600.0
#: Images that one transaction removes at most.
AT_ONCE = 200


class Retention:
    """Keeps the images within an age and a total size."""

    def __init__(self, settings: Settings, database: Database, image_files: ImageFiles) -> None:
        self._settings = settings
        self._database = database
        self._image_files = image_files
        #: Whether the log already says that the images are too large and none may be removed.
        self._told = False

    async def run(self) -> None:
        """Remove images that are due, again and again, and the files of removed ones that are still on the disk."""
        while True:
            try:
                await self._image_files.remove_listed()
                await self.remove_due()
            except Exception:
                log.exception("Images that are past their time could not be removed")
            await asyncio.sleep(RETAIN_EVERY_S)

    async def remove_due(self) -> None:
        """Remove the images that are due now."""
        await self._by_age()
        await self._by_size()

    async def _by_age(self) -> None:
        days = self._settings.archive_days
        if not days:
            return
        before = ago(timedelta(days=days))
        why = f"archived for more than {days:g} days"
        while True:
            removed, gone = await self._remove(
                partial(removals.remove_archived, before=before, limit=AT_ONCE), "age", why
            )
            if not removed or not gone:
                return

    async def _by_size(self) -> None:
        most = self._settings.disk_gib * GIB
        if not most:
            return
        while True:
            paths = await self._database.read(artifacts.kept_paths)
            size = await asyncio.to_thread(size_of, self._settings.images, paths)
            if size <= most:
                self._told = False
                return
            # This many make the missing room if all images are equally large.
            wanted = min(AT_ONCE, max(1, round((size - most) * len(paths) / size)))
            why = f"the images took {size / GIB:.2f} GiB, and BACKLOT_DISK_GIB is {self._settings.disk_gib:g}"
            removed, gone = await self._remove(partial(removals.remove_oldest, limit=wanted), "size", why)
            if not removed and not self._told:
                log.warning("Nothing more may be removed, though %s: favourites stay", why)
                self._told = True
            if not removed or not gone:
                return

    async def _remove(self, remove: Callable[[Connection], list[Removed]], why: str, told: str) -> tuple[int, bool]:
        """Remove images with their files; return how many there were, and whether all files are gone.

        While a file cannot be deleted, no room is made, so the caller should remove no more.
        """
        removed = await self._database.write(remove)
        for image in removed:
            log.info("Removed image %s of job %s: %s", image.public_id, image.job, told)
        metrics.images_removed.labels(why).inc(len(removed))
        gone = await self._image_files.remove_listed()
        return len(removed), gone


def size_of(images: Path, paths: Iterable[str]) -> int:
    """Return the bytes that these images take. One whose file is missing takes none."""
    total = 0
    for path in paths:
        with suppress(FileNotFoundError):
            total += (images / path).stat().st_size
    return total
