"""`/v1/admin/disk`: what the data folder takes, and what is left."""

import asyncio
import os
import shutil
from pathlib import Path

import msgspec
from litestar import get
from litestar.di import NamedDependency

from server.api.openapi import errors
from server.settings import Settings


class Folder(msgspec.Struct, frozen=True):
    files: int
    bytes: int


class Disk(msgspec.Struct, frozen=True):
    data_folder: str
    #: The size of the disk with the data folder.
    total_bytes: int
    free_bytes: int
    images: Folder
    logs: Folder
    #: The database with its write-ahead log.
    database_bytes: int


@get("/disk", responses=errors(), summary="See what the disk holds")
async def read_disk(settings: NamedDependency[Settings]) -> Disk:
    # This runs in a thread, since it looks at thousands of files.
    return await asyncio.to_thread(_read, settings)


def _read(settings: Settings) -> Disk:
    disk = shutil.disk_usage(settings.data)
    # A ledger that a restore has set aside is named alike, but is none of this.
    name = settings.database.name
    database = [path.stat().st_size for path in settings.data.glob(f"{name}*") if not path.name.startswith(f"{name}.")]
    return Disk(
        str(settings.data.absolute()), disk.total, disk.free, _sum(settings.images), _sum(settings.logs), sum(database)
    )


def _sum(folder: Path) -> Folder:
    """Count the files below a folder and their bytes, without those that are deleted meanwhile."""
    files = size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(f"{path}/{name}").st_size  # noqa: PTH116  a Path for each of 100,000 files is slow
            except FileNotFoundError:
                continue
            files += 1
    return Folder(files, size)
