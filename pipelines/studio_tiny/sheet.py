"""The contact sheet: every scene in several colours and moods, made by the trained pipeline itself."""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from PIL import Image, ImageDraw

from pipelines.colors import parse_color
from pipelines.studio_tiny.vocabulary import SCENES, phrase

#: Mood and colours of each row.
ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("neutral", ()),
    ("warm", ("#d9a441",)),
    ("soft", ("#e8b4bc", "#fff6ee")),
    ("dramatic", ("#1f3a5f", "#e0c9a6")),
    ("bright", ("#7fa88b", "#f5efe0", "#3b4a3f")),
)
CELL = 208
LABEL = 22
STEPS, GUIDANCE = 16, 2.0


def draw_sheet(weights: Path, target: Path) -> None:
    """One row a colour scheme, one column a scene; 512 × 512 pictures, shrunk."""
    pipeline = DiffusionPipeline.from_pretrained(weights, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    sheet = Image.new("RGB", (CELL * len(SCENES), (CELL + LABEL) * len(ROWS)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (mood, colors) in enumerate(ROWS):
        prompts = [phrase(scene, mood, [parse_color(color) for color in colors]).prompt for scene in SCENES]
        images = pipeline(
            prompts,
            width=512,
            height=512,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator("cpu").manual_seed(row) for _ in SCENES],
        ).images
        top = row * (CELL + LABEL)
        for column, (scene, image) in enumerate(zip(SCENES, images, strict=True)):
            sheet.paste(image.resize((CELL, CELL), Image.Resampling.LANCZOS), (column * CELL, top))
            draw.text((column * CELL + 4, top + CELL + 5), f"{scene}, {mood}", fill="black")
            for index, color in enumerate(colors):
                left = (column + 1) * CELL - 14 * (len(colors) - index) - 2
                draw.rectangle((left, top + CELL + 5, left + 11, top + CELL + 16), fill=color, outline="grey")
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, optimize=True)
