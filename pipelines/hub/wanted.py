"""The needed files of a hub's model: those that the loader reads, and not the same weights in other formats."""

from collections.abc import Collection

import msgspec

from pipelines.weight_files import FoundWeights, find_weights, why_no_weights

#: Endings of files that a component may need beside its weights: configurations, vocabularies, chat templates.
_BESIDE = (".json", ".txt", ".model", ".tiktoken", ".jinja")


class NotNeeded(Exception):
    """A hub's model cannot be used, so nothing of it is downloaded; the message says why."""


class Wanted(msgspec.Struct, frozen=True):
    """The files to download."""

    #: Their paths, without those of shards, which only an index names.
    files: tuple[str, ...]
    #: The indices of shards among them.
    indices: tuple[str, ...]


def wanted_files(
    names: Collection[str],
    components: Collection[str],
    variant: str | None,
    *,
    pickle: bool,
    held: Collection[str] = (),
) -> Wanted:
    """Return which of a hub's files these components need; `names` are paths with slashes, and `pickle` is the card's.

    The weights of the `held` ones are in a file on this box. Raises NotNeeded.
    """
    files, indices = ["model_index.json"], []
    for component in components:
        own = {name.removeprefix(f"{component}/") for name in names if name.startswith(f"{component}/")}
        found = find_weights(own, variant, pickle=pickle)
        if component in held:
            found = None
        elif found is None and any(file.endswith((".bin", ".safetensors", ".ckpt")) for file in own):
            raise NotNeeded(why_no_weights(component, own, variant))
        files += [f"{component}/{file}" for file in sorted(own) if _is_beside(file, found)]
        if found is not None:
            files.append(f"{component}/{found.name}")
            indices += [f"{component}/{found.name}"] if found.is_index else []
    return Wanted(tuple(files), tuple(indices))


def _is_beside(file: str, found: FoundWeights | None) -> bool:
    """Return whether a component needs this file beside its weights. It needs no index of weights that are not read."""
    return file.endswith(_BESIDE) and ".index." not in file and (found is None or file != found.name)
