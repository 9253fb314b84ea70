"""The recipe of an image, put together from the facts that the GPU process has."""

from functools import cache
from importlib.metadata import version

import msgspec
import torch

from pipelines.colors import PaletteMode, hex_color
from pipelines.denoising.call import CallSettings
from pipelines.model_card import settings_digest
from pipelines.protocol import Item
from pipelines.recipe import Recipe
from pipelines.worker.loader import LoadedModel


class Machine(msgspec.Struct, frozen=True):
    """The device, and the versions of libraries, that a recipe names."""

    device: torch.device
    device_name: str
    #: Versions of the libraries that decide bits, by name.
    versions: dict[str, str]


def recipe_of(item: Item, model: LoadedModel, settings: CallSettings, batch_size: int, machine: Machine) -> Recipe:
    """Return the recipe of an image that was made in a slot group of this batch size."""
    card, pipeline = model.card, model.pipeline
    moved = item.palette is not PaletteMode.PROMPT
    return Recipe(
        model=card.name,
        revision=model.revision,
        pipeline=type(pipeline).__name__,
        prompt=item.prompt,
        negative_prompt=item.negative_prompt,
        seed=item.seed,
        width=settings.width,
        height=settings.height,
        steps=settings.steps,
        guidance=settings.guidance,
        scheduler=type(pipeline.scheduler).__name__,
        dtype=card.weights.dtype,
        settings=settings_digest(card),
        batch_size=batch_size,
        device=machine.device.type,
        device_name=machine.device_name,
        versions={
            **machine.versions,
            **({"pillow": version("pillow")} if settings.second is not None else {}),
            **(_versions_that_move_colors() if moved else {}),
        },
        loras=model.applied,
        palette=item.palette,
        colors=tuple(map(hex_color, item.colors)) if moved else (),
        upscale=settings.second,
    )


@cache
def _versions_that_move_colors() -> dict[str, str]:
    """Return the versions of the libraries on which the colours of a steered or matched image depend."""
    return {name: version(name) for name in ("numpy", "pillow", "scikit-image", "scipy")}
