"""Proposed cards: what a model's name and its files' headers tell."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from server.card_proposal import propose
from tests.support.weights import bare_folder


@pytest.mark.parametrize(
    ("pipeline", "called", "steps", "told"),
    [
        ("StableDiffusionPipeline", "sd-turbo", 1, "turbo"),
        ("StableDiffusionXLPipeline", "sdxl-turbo", 1, "turbo"),
        ("StableDiffusion3Pipeline", "stable-diffusion-3.5-large-turbo", 4, "turbo"),
        ("StableDiffusionXLPipeline", "dreamToonXL_lightningDPMSDE", 4, "lightning"),
        ("StableDiffusionXLPipeline", "toonvisXLV50_v50LightningBakedvae", 4, "lightning"),
        ("StableDiffusionXLPipeline", "toonXL_XILightningByUs", 4, "lightning"),
        ("StableDiffusionXLPipeline", "Hyper-SDXL", 4, "hyper"),
        ("StableDiffusionXLPipeline", "hyperRealToonXL", 50, None),
        ("StableDiffusionXLPipeline", "hyper_realism", 50, None),
        ("StableDiffusionXLPipeline", "hyperreal", 50, None),
    ],
)
def test_a_name_tells_a_model_of_few_steps(
    tmp_path: Path, pipeline: str, called: str, steps: int, told: str | None
) -> None:
    found = propose(bare_folder(tmp_path / "m", pipeline), None, called, None)
    assert found.card["steps"] == steps
    assert (found.card["guidance"] == 0) == (told is not None)
    assert (f"steps, guidance: {called!r} sounds like {told}" in found.assumed) == (told is not None)


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [(np.int8, "bfloat16"), (np.uint8, "bfloat16"), (np.float16, "float16"), (np.float32, "float32")],
)
def test_a_model_that_somebody_quantized_computes_in_bfloat16(tmp_path: Path, stored: type, dtype: str) -> None:
    folder = bare_folder(tmp_path / "m")
    weights = {"weight": np.zeros(1000, stored), "scale": np.zeros(10, np.float32)}
    save_file(weights, folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert propose(folder, None, "m", None).card["dtype"] == dtype
