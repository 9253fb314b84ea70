"""The contact sheet: every scene in several moods and colours, made by the trained pipeline itself."""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from PIL import Image, ImageDraw

from pipelines.colors import parse_color
from pipelines.studio_tiny.training.prompts import SCENE_WORDS, prompt

#: Mood and colours of each row.
ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("neutral", ()),
    ("warm", ("#d9a441",)),
    ("soft", ("#e8b4bc", "#fff6ee")),
    ("dramatic", ("#1f3a5f", "#e0c9a6")),
    ("bright", ("#7fa88b", "#f5efe0", "#3b4a3f")),
)
CELL = 128
LABEL = 16


def draw_sheet(weights: Path, target: Path, steps: int = 16, guidance: float = 2.0, side: int = 256) -> None:
    """Draw one row a colour scheme, one column a scene; pictures of `side` pixels, shrunk."""
    pipeline = DiffusionPipeline.from_pretrained(weights, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    sheet = Image.new("RGB", (CELL * len(SCENE_WORDS), (CELL + LABEL) * len(ROWS)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (mood, colors) in enumerate(ROWS):
        images = pipeline(
            [prompt(scene, mood, [parse_color(color) for color in colors]) for scene in SCENE_WORDS],
            width=side,
            height=side,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator("cpu").manual_seed(row) for _ in SCENE_WORDS],
        ).images
        top = row * (CELL + LABEL)
        for column, (scene, image) in enumerate(zip(SCENE_WORDS, images, strict=True)):
            sheet.paste(image.resize((CELL, CELL), Image.Resampling.LANCZOS), (column * CELL, top))
            draw.text((column * CELL + 3, top + CELL + 2), f"{scene}, {mood}", fill="black")
            for index, color in enumerate(colors):
                left = (column + 1) * CELL - 10 * (len(colors) - index) - 2
                draw.rectangle((left, top + CELL + 4, left + 7, top + CELL + 11), fill=color, outline="grey")
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, optimize=True)
