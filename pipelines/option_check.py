"""The options of a card that make a model fit or run faster, held against its parts; without torch.

An option either acts on a model, or is refused here. What depends on the device is refused when the model is loaded.
"""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.diffusers_classes import attribute, mentions
from pipelines.model_card import ModelCard


def problems_of_options(card: ModelCard, denoiser: str | None, folder: Path | None) -> Iterator[str]:
    """Yield what is wrong with a card's options, each as `key = value: why`.

    `denoiser` is the component's name, `unet` or `transformer`; None if the model has neither, or is not on this box. Raises
    OSError or ValueError if the folder cannot be examined.
    """
    index: dict[str, Any] = {} if folder is None else json.loads((folder / "model_index.json").read_bytes())
    config = {} if folder is None or denoiser is None else _config(folder / denoiser)
    yield from _problems_of_narrow_weights(card, "quantization_config" in config)
    kinds = {name: value[1] for name, value in index.items() if isinstance(value, list) and len(value) == 2}
    yield from _problems_of_parts(card, kinds, denoiser)


def _problems_of_narrow_weights(card: ModelCard, quantized: bool) -> Iterator[str]:
    weights = card.weights
    quantized = quantized or (weights.file or "").endswith(".gguf")
    chosen = {
        f"quantization = {weights.quantization!r}": weights.quantization is not None,
        "layerwise_casting = true": weights.layerwise_casting,
    }
    for key, is_set in chosen.items():
        if is_set and quantized:
            yield f"{key}: the denoiser's weights are quantized already; remove the key"
    if all(chosen.values()):
        yield "layerwise_casting = true: quantization makes the same weights narrow already; choose one of the two"
    if weights.quantization is not None and find_spec("torchao") is None:
        yield (
            f"quantization = {weights.quantization!r}: it needs torchao; install it with:"
            " .venv/bin/python -m pip install torchao -c constraints.txt"
        )


def _problems_of_parts(card: ModelCard, kinds: dict[str, Any], denoiser: str | None) -> Iterator[str]:
    vae = kinds.get("vae")
    if card.weights.vae_tiling and kinds and not mentions("models", str(vae), "use_tiling"):
        has_none = "the model has no VAE" if vae is None else f"{vae} of diffusers has no tiles"
        yield f"vae_tiling = true: {has_none}; remove the key"
    if card.residence.offload == "group":
        for name in filter(None, (denoiser, "vae")):
            if attribute("models", str(kinds.get(name)), "_supports_group_offloading") is False:
                yield f"offload = 'group': {kinds[name]} of diffusers does not allow it; write offload = 'model'"


def _config(component: Path) -> dict[str, Any]:
    """Return a component's configuration; nothing if it has none, as the denoiser beside a checkpoint in one file may."""
    file = component / "config.json"
    found: dict[str, Any] = json.loads(file.read_bytes()) if file.is_file() else {}
    return found
