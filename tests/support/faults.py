"""Faults of the box, each really brought about, and undone at the end of its with block."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the write lock of a database from another process."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    try:
        yield
    finally:
        process.kill()
        process.communicate()


@contextmanager
def frozen(process_id: int) -> Iterator[None]:
    """Stop a process where it is, like one that hangs in a driver. A process that is killed meanwhile stays dead."""
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGCONT)


@contextmanager
def out_of_memory(process_id: int, room: int) -> Iterator[None]:
    """Limit a process to `room` bytes of address space more than it has now, as after a long leak."""
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[0])
    soft, hard = resource.prlimit(process_id, resource.RLIMIT_AS)
    resource.prlimit(process_id, resource.RLIMIT_AS, (pages * resource.getpagesize() + room, hard))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(process_id, resource.RLIMIT_AS, (soft, hard))
