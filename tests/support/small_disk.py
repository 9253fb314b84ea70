"""A small disk that can really be full."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Path]:
    """Mount a file system of this many MiB on a folder. Only root can; anybody else skips the test."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "backlot-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        # A killed process may have files open for another moment.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Fill the disk of a folder up to `leave` bytes, and return the file that fills it."""
    filler = folder / "filler"
    with filler.open("ab") as file:
        while (room := free(folder) - leave) > 0:
            file.write(b"x" * min(room, 1 << 20))
            file.flush()
    return filler


def free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
