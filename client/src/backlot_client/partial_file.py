"""A file that appears whole or not at all."""

import hashlib
import os
import secrets
from pathlib import Path


class PartialFile:
    """Collects bytes in a file beside the target. `keep` moves it into the target's place; without `keep` it is removed.

    A process that is killed leaves its part behind; `discard_parts` removes it.
    """

    def __init__(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self._target = target
        self._path = target.with_name(f"{_prefix(target)}{secrets.token_hex(4)}.part")
        self._file = self._path.open("xb")
        self.size = 0

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self.size += len(piece)

    def keep(self) -> None:
        """Put the file in the target's place, once it is on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.replace(self._target)

    def __enter__(self) -> "PartialFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def discard_parts(target: Path) -> None:
    """Remove what killed processes left of this file."""
    prefix = _prefix(target)
    for path in target.parent.iterdir() if target.parent.is_dir() else ():
        if path.name.startswith(prefix) and path.suffix == ".part":
            path.unlink(missing_ok=True)


def _prefix(target: Path) -> str:
    """Return how the names of a file's parts begin. A digest stands for its name, which may be as long as names can be."""
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()
    return f".backlot-{digest[:16]}."
