"""Digests of a model's files: what tells one set of weights from another, and which file differs between two boxes."""

import hashlib
from collections.abc import Iterator, Mapping
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


def digests(weights: Weights) -> dict[str, str]:
    """Return the digest of each file by its path in the folder; for a hub id its commit, or nothing if it is not here.

    Raises OSError if the folder cannot be read.
    """
    if weights.folder is None:
        folder = cached_folder(weights)
        return {} if folder is None else {COMMIT: folder.name}
    folder = Path(weights.folder)
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files_of(folder)}


def first_difference(servers: Mapping[str, str], boxs: Mapping[str, str]) -> str | None:
    """Return the first file that the box has not as the server has it; None if there is none, or the server has no files."""
    if not servers:
        return None
    return next((name for name in sorted(servers.keys() | boxs.keys()) if servers.get(name) != boxs.get(name)), None)


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
