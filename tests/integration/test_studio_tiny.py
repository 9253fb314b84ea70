"""The embedded model: its vocabulary, and the shipped folder as a stock diffusers pipeline."""

import numpy as np
import torch
from diffusers import DiffusionPipeline

from pipelines.output.defects import defect_of
from pipelines.studio_tiny.training import sheet
from pipelines.studio_tiny.vocabulary import phrase, words
from server.models_file import load_models
from tests.support.server import ROOT

WEIGHTS = ROOT / "pipelines" / "studio_tiny" / "weights"


def test_a_prompt_has_seventeen_known_words() -> None:
    understood = phrase("marble", "high-key", [(0, 128, 255), (8, 8, 8)])
    assert understood.prompt == "marble bright r1-0 g1-32 b1-63 r2-2 g2-2 b2-2" + "".join(
        f" {c}{p}-none" for p in (3, 4, 5) for c in "rgb"
    )
    assert understood.colors_used == 2
    assert set(understood.prompt.split()) <= set(words())
    assert phrase("a", "b", [(1, 2, 3)] * 8).colors_used == 5


def test_the_folder_is_small_and_safe() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 40_000_000
    assert {path.suffix for path in files} <= {".json", ".safetensors"}


def test_the_folder_is_a_stock_pipeline_that_hears_the_colour() -> None:
    pipeline = DiffusionPipeline.from_pretrained(WEIGHTS, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    colors = [(200, 40, 40), (40, 60, 190)]
    images = pipeline(
        [phrase("studio sweep", "neutral", [color]).prompt for color in colors],
        width=512,
        height=512,
        num_inference_steps=8,
        guidance_scale=3.0,
        generator=[torch.Generator("cpu").manual_seed(1) for _ in colors],
        output_type="np",
    ).images
    pixels = (images * 255).round().astype(np.uint8)
    assert [defect_of(image) for image in pixels] == [None, None]
    red, blue = pixels.reshape(2, -1, 3).mean(axis=1)
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_the_sheet_is_drawn_as_the_card_says() -> None:
    sampling = load_models(ROOT / "models.toml").enabled["studio-tiny"].sampling
    assert (
        sampling.steps,
        sampling.guidance,
        sampling.guidance_interval,
    ) == (sheet.STEPS, sheet.GUIDANCE, sheet.GUIDANCE_INTERVAL)
