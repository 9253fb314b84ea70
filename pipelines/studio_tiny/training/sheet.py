"""The contact sheet: every scene in several moods and colours, rendered or made by the trained pipeline."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tqdm import tqdm

from pipelines.colors import Rgb, parse_color
from pipelines.denoising.guidance_interval import partly_guided
from pipelines.studio_tiny.training.pictures import render
from pipelines.studio_tiny.vocabulary import prompt

#: A function that makes one picture of a scene, a mood, colours, a side in pixels and a seed.
Maker = Callable[[str, str, list[Rgb], int, int], NDArray[np.uint8]]

#: The colours requested with each mood; none leaves the colours to the mood.
PALETTES: dict[str, tuple[str, ...]] = {
    "neutral": (),
    "bright": ("#7fa88b", "#f5efe0", "#3b4a3f"),
    "dark": ("#3a2f4a",),
    "warm": ("#d9a441",),
    "cool": ("#9fb8c9", "#f2f5f7"),
    "dramatic": ("#1f3a5f", "#e0c9a6"),
    "soft": ("#e8b4bc", "#fff6ee"),
    "vivid": ("#e4572e", "#17bebb"),
    "golden": ("#c98b3c",),
    "misty": ("#a9b4ae",),
    "elegant": ("#26302b", "#b08d57"),
    "neon": ("#2b1055",),
    "vintage": ("#b5a17c", "#6b7a5a"),
}
#: The same as on the card in models.toml.
STEPS, GUIDANCE, GUIDANCE_INTERVAL = 12, 5.0, (0.65, 0.97)
#: The moods of a sheet of renders, which take longer.
FEW_MOODS = ("neutral", "warm", "soft", "dramatic", "bright")
ACROSS = 13
CELL = 144
LABEL = 16


def rendered(scene: str, mood: str, colors: list[Rgb], side: int, seed: int) -> NDArray[np.uint8]:
    """Return a render."""
    return render(scene, mood, colors, side, side, seed)


def generated(weights: Path, steps: int) -> Maker:
    """Return a function that makes pictures with the pipeline of a folder."""
    pipeline: Any = DiffusionPipeline.from_pretrained(weights, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)

    def make(scene: str, mood: str, colors: list[Rgb], side: int, seed: int) -> NDArray[np.uint8]:
        images = partly_guided(pipeline, GUIDANCE_INTERVAL, images=1)(
            prompt(scene, mood, colors),
            width=side,
            height=side,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images
        return np.asarray(images[0])

    return make


def draw_sheet(make: Maker, scenes: Sequence[str], moods: Sequence[str], target: Path, side: int) -> None:
    """Draw every scene in every mood, in its colours, from pictures of `side` pixels. A cell's place gives its seed."""
    across = min(ACROSS, len(scenes))
    lines = -(-len(scenes) // across)
    sheet = Image.new("RGB", (CELL * across, (CELL + LABEL) * lines * len(moods)), "white")
    draw = ImageDraw.Draw(sheet)
    cells = [(band, number) for band in range(len(moods)) for number in range(len(scenes))]
    for band, number in tqdm(cells, desc="sheet", mininterval=10):
        scene, mood = scenes[number], moods[band]
        colors = [parse_color(name) for name in PALETTES[mood]]
        pixels = make(scene, mood, colors, side, 100 * band + number)
        left, top = number % across * CELL, (band * lines + number // across) * (CELL + LABEL)
        sheet.paste(Image.fromarray(pixels).resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))
        draw.text((left + 3, top + CELL + 2), f"{scene}, {mood}", fill="black")
        for index, color in enumerate(colors):
            x = left + CELL - 11 * (len(colors) - index) - 2
            draw.rectangle((x, top + CELL + 4, x + 8, top + CELL + 12), fill=color, outline="grey")
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, quality=90)
