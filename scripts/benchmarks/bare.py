"""Runs a bare diffusers loop over the shipped folder, as a script without a server would: `python -m benchmarks.bare`.

Reads one JSON order a line, `{"batch": n, "images": n}`, and answers with the seconds it took, the PNG files included.
"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL.Image import Image

from pipelines.denoising.guidance_interval import partly_guided
from pipelines.studio_tiny.vocabulary import phrase
from server.models_file import load_models

ROOT = Path(__file__).parent.parent.parent


def load() -> Any:
    weights = load_models(ROOT / "models.toml").default.weights
    pipeline = DiffusionPipeline.from_pretrained(
        weights.folder, dtype=getattr(torch, weights.dtype), use_safetensors=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")


def images_of(pipeline: Any, seeds: list[int]) -> list[Image]:
    """Return an image for each seed, all from one stock call."""
    card = load_models(ROOT / "models.toml").default
    prompt = phrase("marble", "warm", [(255, 255, 240), (218, 165, 32)]).prompt
    # The same calls of the denoiser as the server's.
    guided = partly_guided(pipeline, card.sampling.guidance_interval, len(seeds))
    made: list[Image] = guided(
        [prompt] * len(seeds),
        width=512,
        height=512,
        num_inference_steps=card.sampling.steps,
        guidance_scale=card.sampling.guidance,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
    ).images
    return made


def run(pipeline: Any, seeds: list[int], folder: Path) -> None:
    """Make the images of these seeds, and write their files."""
    for seed, image in zip(seeds, images_of(pipeline, seeds), strict=True):
        image.save(folder / f"{seed}.png")


def main() -> None:
    started = time.perf_counter()
    pipeline = load()
    with TemporaryDirectory() as folder:
        run(pipeline, [0], Path(folder))
        print(json.dumps(time.perf_counter() - started), flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            started = time.perf_counter()
            for first in range(0, order["images"], order["batch"]):
                run(pipeline, list(range(first, first + order["batch"])), Path(folder))
            print(json.dumps(time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    main()
