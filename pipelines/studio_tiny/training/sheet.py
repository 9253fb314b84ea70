"""The contact sheet: every scene in several moods and colours, rendered, or made by the trained pipeline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipelines.colors import parse_color
from pipelines.studio_tiny.training.pictures import render
from pipelines.studio_tiny.training.vocabulary import SCENES, prompt

Rgb = tuple[int, int, int]
#: Makes one picture of a scene, a mood, colours, a side in pixels and a seed.
Maker = Callable[[str, str, list[Rgb], int, int], NDArray[np.uint8]]

#: Mood and colours of each band of the sheet.
BANDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("neutral", ()),
    ("warm", ("#d9a441",)),
    ("soft", ("#e8b4bc", "#fff6ee")),
    ("dramatic", ("#1f3a5f", "#e0c9a6")),
    ("bright", ("#7fa88b", "#f5efe0", "#3b4a3f")),
)
ACROSS = 13
CELL = 144
LABEL = 16


def rendered(scene: str, mood: str, colors: list[Rgb], side: int, seed: int) -> NDArray[np.uint8]:
    """Return a render."""
    return render(scene, mood, colors, side, side, seed)


def generated(weights: Path, steps: int = 16, guidance: float = 2.0) -> Maker:
    """Return what makes pictures with the pipeline of a folder."""
    pipeline: Any = DiffusionPipeline.from_pretrained(weights, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)

    def make(scene: str, mood: str, colors: list[Rgb], side: int, seed: int) -> NDArray[np.uint8]:
        images = pipeline(
            prompt(scene, mood, colors),
            width=side,
            height=side,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images
        return np.asarray(images[0])

    return make


def draw_sheet(make: Maker, target: Path, side: int = 288) -> None:
    """Draw one band per mood and its colours, with every scene; pictures of `side` pixels, shrunk."""
    lines = -(-len(SCENES) // ACROSS)
    sheet = Image.new("RGB", (CELL * ACROSS, (CELL + LABEL) * lines * len(BANDS)), "white")
    draw = ImageDraw.Draw(sheet)
    for band, (mood, names) in enumerate(BANDS):
        colors = [parse_color(name) for name in names]
        for number, scene in enumerate(SCENES):
            pixels = make(scene, mood, colors, side, 100 * band + number)
            left, top = number % ACROSS * CELL, (band * lines + number // ACROSS) * (CELL + LABEL)
            sheet.paste(Image.fromarray(pixels).resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))
            draw.text((left + 3, top + CELL + 2), f"{scene}, {mood}", fill="black")
            for index, color in enumerate(colors):
                x = left + CELL - 11 * (len(colors) - index) - 2
                draw.rectangle((x, top + CELL + 4, x + 8, top + CELL + 12), fill=color, outline="grey")
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, optimize=True)
