"""Tiny but genuine diffusers pipelines with random weights, each a folder that the server loads like any other.

The broken ones really produce what they are named for: their weights do it, not a patch of the code.
"""

from pathlib import Path

import torch

from tests.support.tiny.flux import chroma_pipeline, flux2_klein_pipeline, flux2_pipeline, flux_pipeline
from tests.support.tiny.others import (
    aura_flow_pipeline,
    hidream_pipeline,
    lumina2_pipeline,
    pixart_sigma_pipeline,
    sana_pipeline,
    sd3_pipeline,
)
from tests.support.tiny.qwen import (
    kandinsky5_pipeline,
    krea2_pipeline,
    qwen_image21_pipeline,
    qwen_image_pipeline,
    z_image_pipeline,
)
from tests.support.tiny.unets import checked_pipeline, sdxl_pipeline, unet_pipeline

__all__ = [
    "aura_flow_pipeline",
    "checked_pipeline",
    "chroma_pipeline",
    "flux2_klein_pipeline",
    "flux2_pipeline",
    "flux_pipeline",
    "hidream_pipeline",
    "kandinsky5_pipeline",
    "krea2_pipeline",
    "lumina2_pipeline",
    "pixart_sigma_pipeline",
    "qwen_image21_pipeline",
    "qwen_image_pipeline",
    "sana_pipeline",
    "save_all",
    "sd3_pipeline",
    "sdxl_pipeline",
    "unet_pipeline",
    "z_image_pipeline",
]


def save_all(folder: Path) -> dict[str, Path]:
    """Save `good` and those that produce `nan`, `black` and `flat` images; return their folders by name."""
    folders = {}
    for name in ("good", "nan", "black", "flat"):
        pipeline = unet_pipeline()
        with torch.no_grad():
            if name == "nan":
                pipeline.unet.conv_out.weight.fill_(float("nan"))
            if name in ("black", "flat"):
                pipeline.vae.decoder.conv_out.weight.zero_()
                pipeline.vae.decoder.conv_out.bias.fill_(-1.0 if name == "black" else 0.25)
        folders[name] = folder / name
        pipeline.save_pretrained(folders[name], safe_serialization=True)
    return folders
