"""Proposed cards: what a model's name and its files' headers tell."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from server.card_proposal import propose
from tests.support.weights import bare_folder


@pytest.mark.parametrize(
    ("pipeline", "called", "steps", "guidance", "told"),
    [
        ("StableDiffusionPipeline", "sd-turbo", 1, 0.0, "turbo"),
        ("StableDiffusionXLPipeline", "sdxl-turbo", 1, 0.0, "turbo"),
        ("StableDiffusionXLPipeline", "sd_xl_turbo_1.0_fp16", 1, 0.0, "turbo"),
        ("StableDiffusionXLPipeline", "toon-xl-v2-turbo", 8, 2.0, "turbo"),
        ("StableDiffusionXLPipeline", "toonXL_v21TurboDPMSDE", 8, 2.0, "turbo"),
        ("StableDiffusion3Pipeline", "stable-diffusion-3.5-large-turbo", 4, 0.0, "turbo"),
        ("StableDiffusion3Pipeline", "stable-diffusion-3.5-large", 28, 3.5, "3.5-large"),
        ("StableDiffusion3Pipeline", "sd3.5_large", 28, 3.5, "sd3.5_large"),
        ("StableDiffusion3Pipeline", "stable-diffusion-3.5-medium", 40, 4.5, "3.5-medium"),
        ("StableDiffusion3Pipeline", "stable-diffusion-3-medium-diffusers", 28, 7.0, None),
        ("StableDiffusionXLPipeline", "dreamToonXL_lightningDPMSDE", 4, 0.0, "lightning"),
        ("StableDiffusionXLPipeline", "toonvisXLV50_v50LightningBakedvae", 4, 0.0, "lightning"),
        ("StableDiffusionXLPipeline", "toonXL_XILightningByUs", 4, 0.0, "lightning"),
        ("StableDiffusionXLPipeline", "Hyper-SDXL", 4, 0.0, "hyper"),
        ("StableDiffusionXLPipeline", "hyperRealToonXL", 50, 5.0, None),
        ("StableDiffusionXLPipeline", "hyper_realism", 50, 5.0, None),
        ("StableDiffusionXLPipeline", "hyperreal", 50, 5.0, None),
    ],
)
def test_a_name_tells_settings_other_than_the_pipeline_s_defaults(
    tmp_path: Path, pipeline: str, called: str, steps: int, guidance: float, told: str | None
) -> None:
    found = propose(bare_folder(tmp_path / "m", pipeline), None, called, None)
    assert (found.card["steps"], found.card["guidance"]) == (steps, guidance)
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
