"""Estimates the memory that a model takes, for weights by the headers of their files, and for an image; without torch."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec

from pipelines.checks.card import problems_of
from pipelines.diffusers_classes import DENOISERS, attribute
from pipelines.model_card import ModelCard
from pipelines.model_index import read_if_there, read_model_index, read_table
from pipelines.parts_of_file import component_of
from pipelines.weight_files import PICKLES, find_weights, read_gguf, read_header, read_index

#: Bytes of a number in memory, by the card's dtype.
_DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
#: Types of numbers, by safetensors' names, that loading turns into the card's dtype; all others stay as they are.
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
#: Types of numbers, by GGUF's names, that loading turns into the card's dtype.
_FLOATS_OF_GGUF = ("F32", "F16")
#: The components that a checkpoint in one file may hold, if its pipeline is not known.
_ANY_COMPONENTS = (DENOISERS[-1], "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
#: Patterns of layers whose weights diffusers never casts to float8; a model's class may name further ones.
_NEVER_CAST = ("pos_embed", "patch_embed", "norm", "^proj_in$", "^proj_out$")
#: Options that make a model take less of a device's memory, as group of the card, key and value, in the order of advice.
_REMEDIES = (
    ("weights", "dtype", "bfloat16"),
    ("weights", "quantization", "int8"),
    # Unlike quantization it needs no further package.
    ("weights", "layerwise_casting", True),
    ("residence", "offload", "model"),
    ("residence", "offload", "group"),
)
#: How many components a message names.
_NAMED = 2


class _Tensor(msgspec.Struct, frozen=True):
    """One tensor, as the header of its file describes it."""

    key: str
    shape: tuple[int, ...]
    #: Bytes that it takes in its file.
    stored: int
    #: Whether loading turns it into the card's dtype.
    is_cast: bool


def component_bytes(card: ModelCard, folder: Path | None) -> dict[str, int]:
    """Return about how many bytes each component takes once it is loaded, the largest first.

    `folder` is None if the configuration of a checkpoint in one file is not known. A few layers may stay in a wider dtype
    than the card's, so a model may take a little more. Raises BadWeights, and OSError or ValueError if a file cannot be read.
    """
    taken: Counter[str] = Counter()
    held: set[str] = set()
    named = {} if folder is None else read_model_index(folder).components
    kept_wide = _kept_wide(card, named)
    if card.weights.file is not None:
        for component, tensor in _tensors_of_file(Path(card.weights.file), folder):
            taken[component] += _bytes(tensor, card, component, kept_wide)
            held.add(component)
    for name in named:
        if folder is not None and name not in held and (folder / name / "config.json").is_file():
            tensors = _tensors_of_component(folder / name, card)
            taken[name] = sum(_bytes(tensor, card, name, kept_wide) for tensor in tensors)
    return {name: size for name, size in taken.most_common() if size}


def least_of_an_image(card: ModelCard, folder: Path) -> int:
    """Return the fewest bytes that an image can take beside the weights, at the smallest tier; 0 if that is unknown.

    The last layers of a VAE's decoder work at the picture's size, and the input and output of each are in memory together.
    """
    if card.weights.vae_tiling:
        return 0
    channels = read_if_there(folder / "vae" / "config.json").get("block_out_channels")
    if not isinstance(channels, list) or not channels:
        return 0
    sizes = [card.size(tier, "1:1") for tier in card.limits.tiers]
    pixels = min(size.width * size.height for size in sizes)
    return 2 * int(channels[0]) * pixels * _DTYPE_BYTES[card.weights.dtype]


def why_too_large(
    card: ModelCard, folder: Path, room: int, *, on_cpu: bool, image_bytes: int | None = None
) -> str | None:
    """Return a message if a model is too large for `room` bytes, with the options that would help; None if it seems to fit.

    `on_cpu` says that the device's memory is the host's. `image_bytes` is what an image was measured to take beside the
    weights; if it is None, least_of_an_image stands in. Raises what component_bytes raises.
    """
    components = component_bytes(card, folder)
    image = least_of_an_image(card, folder) if image_bytes is None else image_bytes
    needed = _needed(card, components, folder, image)
    if needed <= room:
        return None
    takes = [f"{name} {size_for_people(size)}" for name, size in list(components.items())[:_NAMED]]
    if image:
        takes.append(f"{'at least ' if image_bytes is None else ''}{size_for_people(image)} for an image")
    return (
        f"{card.name} is too large by {size_for_people(needed - room)}: it takes {size_for_people(needed)}"
        f" ({', '.join(takes)}) and there is room for {size_for_people(room)};"
        f" {_ways_out(card, folder, room, image, on_cpu=on_cpu)}"
    )


def _needed(card: ModelCard, components: dict[str, int], folder: Path, image: int) -> int:
    """Return the most bytes of the device's memory that a model takes while it makes an image."""
    weights = most_at_once(components, card, _kept_whole_as_configured(card, folder))
    # With offload = "model" the measured bytes of an image include the components that came to the device.
    return max(weights, image) if card.residence.offload == "model" else weights + image


def _kept_whole_as_configured(card: ModelCard, folder: Path) -> list[str]:
    """Return the components that group offloading leaves on the device: a VAE that the pipeline decodes with in float32."""
    if card.weights.dtype != "float16":
        return []
    said = read_if_there(folder / "vae" / "config.json")
    # diffusers turns an AutoencoderKL to float32 unless its configuration says otherwise.
    return ["vae"] if said.get("force_upcast", said.get("_class_name") == "AutoencoderKL") else []


def most_at_once(sizes: Mapping[str, int], card: ModelCard, kept_whole: Iterable[str]) -> int:
    """Return the most bytes of the device's memory that components of these sizes take at one time.

    `kept_whole` names the components that group offloading leaves on the device.
    """
    match card.residence.offload:
        case "model":
            return max(sizes.values(), default=0)
        case "group":
            # The others have only a layer or two on the device at a time.
            return sum(sizes.get(name, 0) for name in kept_whole)
        case _:
            return sum(sizes.values())


def size_for_people(size: int) -> str:
    """Return a size such as `31.4 GiB`; it is in MiB if it is less than 0.1 GiB."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 / 10 else f"{size / 2**20:.1f} MiB"


def _ways_out(card: ModelCard, folder: Path, room: int, image: int, *, on_cpu: bool) -> str:
    """Return what to write on the card so that the model fits, given the bytes that an image takes with the card as it is.

    Each option that would do alone is named, or else the first two that would do together.
    """
    remedies = [
        (group, key, value)
        for group, key, value in _REMEDIES
        if getattr(getattr(card, group), key) != value and not (group == "residence" and on_cpu)
    ]
    alone = [way for remedy in remedies if (way := _way_out(card, folder, room, image, remedy))]
    if alone:
        return f"write on its card {' or '.join(alone)}"
    together = (_way_out(card, folder, room, image, *pair) for pair in combinations(remedies, 2))
    if (way := next(filter(None, together), None)) is not None:
        return f"write on its card {way}"
    return "no option of its card would do; free memory on the device, or use a smaller model"


def _way_out(card: ModelCard, folder: Path, room: int, image: int, *remedies: tuple[str, str, Any]) -> str | None:
    """Return what these remedies write on a card, with the bytes it takes then; None if they are refused or do not do."""
    changed = card
    for group, key, value in remedies:
        options = msgspec.structs.replace(getattr(changed, group), **{key: value})
        changed = msgspec.structs.replace(changed, **{group: options})
    narrower = _DTYPE_BYTES[card.weights.dtype] // _DTYPE_BYTES[changed.weights.dtype]
    size = _needed(changed, component_bytes(changed, folder), folder, image // narrower)
    if size > room or any(problems_of(changed, folder)):
        return None
    options_told = " and ".join(f"{key} = {json.dumps(value)}" for _, key, value in remedies)
    return options_told + (f" ({size_for_people(size)})" if size else "")


def _kept_wide(card: ModelCard, named: Mapping[str, tuple[str, str]]) -> re.Pattern[str] | None:
    """Return the pattern of the denoiser's layers that are not cast to float8; None if the card casts no layers."""
    if not card.weights.layerwise_casting:
        return None
    kind = next((named[name][1] for name in DENOISERS if name in named), "")
    names = ("_skip_layerwise_casting_patterns", "_keep_in_fp32_modules")
    further = [pattern for name in names for pattern in attribute("models", kind, name) or ()]
    return re.compile("|".join([*_NEVER_CAST, *further]))


def _bytes(tensor: _Tensor, card: ModelCard, component: str, kept_wide: re.Pattern[str] | None) -> int:
    if not tensor.is_cast:
        return tensor.stored
    weights, numbers = card.weights, math.prod(tensor.shape)
    wide = numbers * _DTYPE_BYTES[weights.dtype]
    if component not in DENOISERS:
        return wide
    if weights.quantization is not None and len(tensor.shape) == 2:
        # Each row of a linear layer has a scale.
        return numbers + tensor.shape[0] * _DTYPE_BYTES[weights.dtype]
    layer, _, _ = tensor.key.rpartition(".")
    if kept_wide is not None and layer and not kept_wide.search(layer):
        return numbers
    return wide


def _tensors_of_component(component: Path, card: ModelCard) -> Iterator[_Tensor]:
    """Yield the tensors of a component's own files; nothing if it has no weights."""
    names = {path.name for path in component.iterdir()}
    found = find_weights(names, card.weights.variant, pickle=card.weights.pickle)
    if found is None:
        return
    quantized = "quantization_config" in read_table(component / "config.json")
    index = read_index(component / found.name) if found.is_index else {}
    for file in sorted(set(index.values()) or {found.name}):
        yield from _tensors_of(component / file, quantized=quantized)


def _tensors_of_file(file: Path, folder: Path | None) -> Iterator[tuple[str, _Tensor]]:
    """Yield each tensor of a checkpoint in one file with the component that it belongs to."""
    components = _ANY_COMPONENTS if folder is None else tuple(read_model_index(folder).components)
    for tensor in _tensors_of(file, quantized=False):
        if (component := component_of(tensor.key, components)) is not None:
            yield component, tensor


def _tensors_of(file: Path, *, quantized: bool) -> Iterator[_Tensor]:
    """Yield the tensors of a file. A pickled file has no header: one tensor stands for all of it.

    Floats of 8 bits stay as they are if the weights are `quantized`.
    """
    if file.name.endswith(PICKLES):
        yield _Tensor("", (), file.stat().st_size, is_cast=False)
        return
    read, floats = (read_gguf, _FLOATS_OF_GGUF) if file.suffix == ".gguf" else (read_header, _FLOATS)
    for key, tensor in read(file).items():
        start, end = tensor.data_offsets
        is_cast = tensor.dtype in floats and not (quantized and tensor.dtype.startswith("F8"))
        yield _Tensor(key, tensor.shape, end - start, is_cast)
