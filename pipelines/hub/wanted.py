"""Which files of a hub's model are needed: those that the loader reads, and none of the other formats beside them."""

from collections.abc import Collection

import msgspec

from pipelines.weight_files import FoundWeights, find_weights, why_no_weights

#: How files end that a component may need beside its weights: configurations, vocabularies, templates of chats.
_BESIDE = (".json", ".txt", ".model", ".tiktoken", ".jinja")


class NotNeeded(Exception):
    """A hub's model cannot be used, so nothing of it is downloaded; the message says why."""


class Wanted(msgspec.Struct, frozen=True):
    """The files to download."""

    #: Without shards, which only their index names.
    files: tuple[str, ...]
    #: The indices of shards among them.
    indices: tuple[str, ...]


def wanted_files(names: Collection[str], components: Collection[str], variant: str | None, *, pickle: bool) -> Wanted:
    """Return what these components need of a hub's files, whose names are paths with slashes; `pickle` is the card's.

    Raises NotNeeded.
    """
    files, indices = ["model_index.json"], []
    for component in components:
        own = {name.removeprefix(f"{component}/") for name in names if name.startswith(f"{component}/")}
        found = find_weights(own, variant, pickle=pickle)
        if found is None and any(file.endswith((".bin", ".safetensors", ".ckpt")) for file in own):
            raise NotNeeded(why_no_weights(component, own, variant))
        files += [f"{component}/{file}" for file in sorted(own) if _is_beside(file, found)]
        if found is not None:
            files.append(f"{component}/{found.name}")
            indices += [f"{component}/{found.name}"] if found.is_index else []
    return Wanted(tuple(files), tuple(indices))


def _is_beside(file: str, found: FoundWeights | None) -> bool:
    """Return whether a component's file is needed beside its weights. An index that is not read is not."""
    return file.endswith(_BESIDE) and ".index." not in file and (found is None or file != found.name)
