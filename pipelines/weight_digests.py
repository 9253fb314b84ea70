"""Digests of weights, which tell one set of files from another, and say which file differs between two boxes."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pipelines.hub.cache import cached_folder
from pipelines.model_card import Weights
from pipelines.weight_files import files_of

#: Bytes up to which a file is read whole. In a larger one BLOCKS + 1 evenly spaced blocks of BLOCK bytes are read.
WHOLE = 64 * 2**20
BLOCKS = 32
BLOCK = 2**20
#: The name under which a hub id's commit stands in for its files.
COMMIT = "the commit of the hub id"


def digests(weights: Weights, loras: Iterable[str] = ()) -> dict[str, str]:
    """Return the digests of a model's files and of these files of LoRAs, by path; a folder's files by their paths in it.

    The commit of a hub id stands in for its files; they are left out if they are not here. Raises OSError if a file cannot be
    read.
    """
    found = {file: _digest(Path(file)) for file in (weights.file, *loras) if file is not None}
    if weights.folder is not None:
        folder = Path(weights.folder)
        return found | {path.relative_to(folder).as_posix(): _digest(path) for path in files_of(folder)}
    cached = cached_folder(weights)
    return found if cached is None else {**found, COMMIT: cached.name}


def first_difference(servers: Mapping[str, str], boxs: Mapping[str, str]) -> str | None:
    """Return the first file that differs between server and box; None if there is none, or the server has no files."""
    if not servers:
        return None
    # If only the box has fetched a hub id, there is nothing to compare it with.
    names = servers.keys() | (boxs.keys() - {COMMIT})
    return next((name for name in sorted(names) if servers.get(name) != boxs.get(name)), None)


def contents(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file that are digested: all of them, or 33 MiB spread over a file of more than 64 MiB."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE:
            yield file.read()
            return
        for block in range(BLOCKS + 1):
            file.seek(block * (size - BLOCK) // BLOCKS)
            yield file.read(BLOCK)


def _digest(path: Path) -> str:
    digest = hashlib.sha256(f"{path.stat().st_size}\0".encode())
    for block in contents(path):
        digest.update(block)
    return digest.hexdigest()
