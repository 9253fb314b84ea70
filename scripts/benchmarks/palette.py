"""Measures how near images come to requested colours with `palette = "prompt"`, `"steer"` and `"match"`.

The shipped model and a tiny SDXL pipeline make images of studio-tiny's scenes and moods, with one to three random colours
each. Their prompts do not name the colours, but in a second run of the shipped model they do.
"""

import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import torch

from pipelines.colors import PaletteMode, Rgb
from pipelines.denoising.batch import Denoised, ImageFailed, Outcome
from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import family_of
from pipelines.denoising.slots import Slots
from pipelines.model_card import ModelCard
from pipelines.output.measurement import evaluate
from pipelines.output.palette import match
from pipelines.output.png import Pixels
from pipelines.protocol import Item
from pipelines.studio_tiny.vocabulary import MOODS, SCENES, prompt
from pipelines.worker.loader import LoadedModel, load
from server.models_file import load_models
from tests.support.server import ROOT
from tests.support.tiny import sdxl_pipeline

IMAGES = 60
SLOTS = 4
SIDE = 512
TINY_SDXL = {"licence": "-", "tiers": ("0.5K",), "multiple_of": 32, "steps": 3, "guidance": 2.0}


def main() -> None:
    # Processor time is measured, and threads that wait for each other would take some too.
    torch.set_num_threads(1)
    shipped = load(load_models(ROOT / "models.toml").default, traced=True)
    _measure(shipped, "no colour in the prompt", named=False)
    _measure(shipped, "colours in the prompt", named=True)
    with TemporaryDirectory(prefix="backlot-bench-") as name:
        folder = Path(name) / "sdxl"
        sdxl_pipeline().save_pretrained(folder)
        tiny = load(ModelCard.from_flat(name="tiny-sdxl", folder=str(folder), **TINY_SDXL), traced=True)
        _measure(tiny, "no colour in the prompt", named=False)


def _measure(model: LoadedModel, what: str, *, named: bool) -> None:
    items = _items(named=named)
    images, seconds = _images(model, items, PaletteMode.PROMPT)
    steered, steered_seconds = _images(model, items, PaletteMode.STEER)
    started = time.process_time()
    matched = [match(pixels, item.colors) for pixels, item in zip(images, items, strict=True)]
    matching = (time.process_time() - started) / IMAGES
    count = sum(len(item.colors) for item in items)
    print(f"{model.card.name}, {what}, {IMAGES} images, {count} colours: CIEDE2000 to the nearest dominant colour")
    for label, made in (("as generated", images), ("steered", steered), ("matched", matched)):
        apart = _distances(made, items)
        print(f"  {label:12} median {statistics.median(apart):5.2f}, 90th percentile {np.percentile(apart, 90):5.2f}")
    print(
        f"  processor time of an image: {seconds:.2f} s as generated, {steered_seconds:.2f} s steered;"
        f" matching takes {matching * 1000:.0f} ms more at {SIDE}²"
    )


def _items(*, named: bool) -> list[Item]:
    """Return the images to make: the same for every call, except that prompts name the colours only if `named`."""
    draw = random.Random(7)
    items = []
    for index in range(IMAGES):
        scene, mood = draw.choice(list(SCENES)), draw.choice(list(MOODS))
        colors: tuple[Rgb, ...] = tuple(
            (draw.randrange(256), draw.randrange(256), draw.randrange(256)) for _ in range(1 + index % 3)
        )
        words = prompt(scene, mood, colors if named else ())
        items.append(Item(str(index), 1000 + index, words, "", "-", colors=colors))
    return items


def _images(model: LoadedModel, items: Sequence[Item], palette: PaletteMode) -> tuple[list[Pixels], float]:
    """Return the images of a palette, and the seconds of processor time that each took."""
    made: dict[str, Pixels] = {}

    def watch(outcome: Outcome) -> None:
        match outcome:
            case Denoised(item=item, image=image):
                pixels = (image.nan_to_num().clamp(0, 1).permute(1, 2, 0) * 255).round()
                made[item.image_id] = pixels.to(torch.uint8).contiguous().numpy()
            case ImageFailed(error=error):
                raise error

    family, sampling = family_of(model.pipeline), model.card.sampling
    if family is None:
        raise ValueError(f"{model.card.name} has no slots")
    settings = CallSettings(SIDE, SIDE, sampling.steps, sampling.guidance)
    slots = Slots(model, family, settings, SLOTS, watch)
    waiting = [msgspec.structs.replace(item, palette=palette) for item in reversed(items)]
    started = time.process_time()
    while waiting or len(slots):
        while waiting and slots.free:
            slots.enter(waiting.pop())
        slots.tick()
    seconds = (time.process_time() - started) / len(items)
    return [made[item.image_id] for item in items], seconds


def _distances(images: Sequence[Pixels], items: Sequence[Item]) -> list[float]:
    return [
        color.delta_e
        for pixels, item in zip(images, items, strict=True)
        for color in evaluate(pixels, item.colors).palette
    ]
