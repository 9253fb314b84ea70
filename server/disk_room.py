"""The room on the disk: below a limit the server accepts no job, so that accepted ones can end and be refunded."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from server.errors import DiskFull
from server.ledger.reserve import RESERVE_BYTES, Reserve
from server.settings import Settings

log = logging.getLogger(__name__)

GIB = 1024**3
LOOK_EVERY_S = 5.0


class DiskRoom:
    """Knows whether there is room for new jobs, says each change once in the log, and keeps the ledger's reserve."""

    def __init__(self, settings: Settings, reserve: Reserve) -> None:
        self._folders = (settings.data, settings.images)
        self._least = settings.disk_free_gib * GIB
        self._reserve = reserve
        #: Why no job is accepted; None if there is room.
        self.problem: str | None = None

    def check(self) -> None:
        """Raise DiskFull if there is too little room for a new job."""
        if self.look() is not None:
            raise DiskFull("The disk of the server is nearly full; nothing was made or charged. Tell the operator")

    def look(self) -> str | None:
        """Measure the room, and return why no job is accepted; None if there is room."""
        free, folder = min((free_bytes(folder), folder) for folder in self._folders)
        before, self.problem = self.problem, self._judge(free, folder)
        if before is None and self.problem is not None:
            log.error("No new job is accepted: %s", self.problem)
        elif before is not None and self.problem is None:
            log.info("The disk has %.2f GiB free again; jobs are accepted", free / GIB)
        return self.problem

    async def watch(self, make_room: Callable[[], Awaitable[None]]) -> None:
        """Look again and again; make room once there is too little, and take the reserve once there is enough."""
        had_room = True
        while True:
            try:
                has_room = self.look() is None
                if had_room and not has_room:
                    await make_room()
                had_room = has_room
                await asyncio.to_thread(self.take_reserve)
            except Exception:
                log.exception("The room on the disk could not be looked at, or made")
            await asyncio.sleep(LOOK_EVERY_S)

    def take_reserve(self) -> None:
        """Hold the ledger's reserve, if the disk has room for it beside what new jobs need."""
        if not self._reserve.is_held and free_bytes(self._folders[0]) >= self._least + 2 * RESERVE_BYTES:
            self._reserve.hold()

    def _judge(self, free: int, folder: Path) -> str | None:
        if free < self._least:
            return (
                f"the disk with {folder.absolute()} has {free / GIB:.2f} GiB free, and BACKLOT_DISK_FREE_GIB is"
                f" {self._least / GIB:g}; remove files, or lower that"
            )
        if not self._reserve.is_held:
            return f"the disk with {folder.absolute()} has no room for the ledger's reserve; remove files"
        return None


def free_bytes(folder: Path) -> int:
    """Return the room on a folder's disk. A folder that is missing will be made on that of its parent."""
    try:
        status = os.statvfs(folder)
    except FileNotFoundError:
        return free_bytes(folder.parent)
    return status.f_bavail * status.f_frsize
