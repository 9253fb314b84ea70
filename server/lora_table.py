"""`[loras.NAME]` of models.toml: the LoRAs that cards, brands and requests may name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from safetensors import SafetensorError, safe_open

from pipelines.diffusers_classes import mentions
from pipelines.model_card import ModelCard


class LoraTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One LoRA."""

    #: The safetensors file, relative to models.toml; absolute once that is read.
    file: Annotated[str, Meta(min_length=1)]
    #: The models that it was trained for.
    models: Annotated[tuple[str, ...], Meta(min_length=1)]
    #: Words that bring out what it learnt; they are added to the prompts of its images.
    prompt: str = ""
    licence: str = ""


def problem_of(lora: LoraTable, cards: Mapping[str, ModelCard]) -> str | None:
    """Return why a LoRA cannot be used; None if its file's header and the pipelines of its models speak for it."""
    for model in lora.models:
        pipeline = cards[model].weights.pipeline
        if pipeline is not None and not mentions("pipelines", pipeline, "LoraLoaderMixin"):
            return f"models: {model} is run by {pipeline}, which takes no LoRA; remove it from the list"
    path = Path(lora.file)
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
    except (OSError, SafetensorError, ValueError) as error:
        return f"{path} cannot be read as a safetensors file: {error}"
    if not any("lora" in name.lower() or ".lokr_" in name for name in names):
        return f"{path} is not a LoRA: its weights are {', '.join(names[:3]) or 'none'}; a whole model is a card of its own"
    if any(name.endswith(".dora_scale") for name in names):
        # diffusers would leave them out and only warn.
        return f"{path} is a DoRA, and diffusers does not read its dora_scale weights; use a LoRA without them"
    return None
