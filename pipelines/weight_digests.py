"""Digests of weights: what tells one set of files from another, and which file differs between two boxes."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pipelines.hub.cache import cached_folder
from pipelines.model_card import Weights
from pipelines.weight_files import files_of

#: Files up to this size are read whole; of larger ones, evenly spaced blocks from one end to the other.
WHOLE = 64 * 2**20
BLOCKS = 32
BLOCK = 2**20
#: The name under which a hub id's commit stands in place of its files.
COMMIT = "the commit of the hub id"


def digests(weights: Weights, loras: Iterable[str] = ()) -> dict[str, str]:
    """Return the digests of a model's files, and of these files of LoRAs, by their paths; files of a folder by those in it.

    A hub id has its commit instead, or nothing if it is not here. Raises OSError if a file cannot be read.
    """
    found = {file: _digest(Path(file)) for file in (weights.file, *loras) if file is not None}
    if weights.folder is not None:
        folder = Path(weights.folder)
        return found | {path.relative_to(folder).as_posix(): _digest(path) for path in files_of(folder)}
    cached = cached_folder(weights)
    return found if cached is None else {**found, COMMIT: cached.name}


def first_difference(servers: Mapping[str, str], boxs: Mapping[str, str]) -> str | None:
    """Return the first file that the box has not as the server has it; None if there is none, or the server has no files."""
    if not servers:
        return None
    # A hub id that only the box has fetched says nothing.
    names = servers.keys() | (boxs.keys() - {COMMIT})
    return next((name for name in sorted(names) if servers.get(name) != boxs.get(name)), None)


def contents(path: Path) -> Iterator[bytes]:
    """Yield what of a file counts in digests: all of it, or 33 MiB spread over one above 64 MiB."""
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
