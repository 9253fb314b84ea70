"""Leftovers: image files that belong to nothing, left by a killed process."""

import asyncio
import logging
import re
import sqlite3
from pathlib import Path

from server.ledger import artifacts, jobs
from server.ledger.database import Database

log = logging.getLogger(__name__)

#: A file name of `server.jobs.image_path`, or the one that the GPU process uses until all of the file is on disk.
_NAME = re.compile(r"([0-9A-Z]{26})(-\d+)?\.(png|partial)")


async def remove_all(folder: Path, database: Database) -> None:
    """Remove the files of ended jobs that are no artifact's.

    All other files stay, also those of jobs that the ledger does not have: it may be an older one, restored.
    """

    def look(connection: sqlite3.Connection, found: list[Path]) -> list[Path]:
        kept = artifacts.paths(connection)
        strays = [file for file in found if str(file.relative_to(folder)) not in kept]
        ended = jobs.ended(connection, {_job_of(file) for file in strays})
        return [file for file in strays if _job_of(file) in ended]

    try:
        # List the files before asking the ledger, which then knows the artifacts of a job that ends meanwhile.
        found = await asyncio.to_thread(lambda: [file for file in folder.glob("*/*") if _NAME.fullmatch(file.name)])
        files = await database.read(look, found)
        for file in files:
            await asyncio.to_thread(file.unlink, missing_ok=True)
    except OSError as error:
        log.warning("What killed processes may have left in %s is still there: %s", folder, error)
        return
    if files:
        log.info("Removed %d image files that a killed process had left behind", len(files))


def _job_of(file: Path) -> str:
    return file.name[:26]
