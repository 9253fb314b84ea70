"""A digest of every file of a model, so that two boxes can find out which file differs."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.model_card import Weights

#: Files up to this size are read whole; of larger ones, evenly spaced blocks from one end to the other.
WHOLE = 64 * 2**20
BLOCKS = 32
BLOCK = 2**20
#: The name under which a hub id's commit stands in place of its files.
COMMIT = "the commit of the hub id"


def digests(weights: Weights) -> dict[str, str]:
    """Return the digest of each file by its path in the folder; for a hub id its commit, or nothing if it is not here yet.

    Raises OSError if the folder cannot be read.
    """
    if weights.folder is None:
        commit = hub_commit(weights.hub or "", weights.revision)
        return {} if commit is None else {COMMIT: commit}
    folder = Path(weights.folder)
    return {path.relative_to(folder).as_posix(): _digest(path) for path in model_files(folder)}


def first_difference(mine: Mapping[str, str], theirs: Mapping[str, str]) -> str | None:
    """Return the first file that is not the same on both sides; None if there is none, or if one side has nothing yet."""
    if not mine or not theirs:
        return None
    return next((name for name in sorted(mine.keys() | theirs.keys()) if mine.get(name) != theirs.get(name)), None)


def model_files(folder: Path) -> list[Path]:
    """Return the files of a folder of weights, sorted; hidden ones are not the model's."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def contents(path: Path) -> Iterator[bytes]:
    """Return what of a file counts in digests: all of it, or 33 MiB spread over a large one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE:
            yield file.read()
            return
        for block in range(BLOCKS + 1):
            file.seek(block * (size - BLOCK) // BLOCKS)
            yield file.read(BLOCK)


def hub_commit(hub: str, revision: str | None) -> str | None:
    """Return the commit that a hub revision stood for when it was fetched: the name of its snapshot in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub, "model_index.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else None


def _digest(path: Path) -> str:
    digest = hashlib.sha256(f"{path.stat().st_size}\0".encode())
    for block in contents(path):
        digest.update(block)
    return digest.hexdigest()
