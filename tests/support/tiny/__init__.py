"""Tiny but genuine diffusers pipelines with random weights, each a folder that the server loads like any other.

The broken ones really produce the images that they are named for: their weights do it, not a patch of the code.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict
from transformers import CLIPTextModel

from pipelines.worker import text_processors
from tests.support.tiny.flux import chroma_pipeline, flux2_klein_pipeline, flux2_pipeline, flux_pipeline
from tests.support.tiny.others import (
    aura_flow_pipeline,
    ernie_image_pipeline,
    hidream_pipeline,
    ideogram4_pipeline,
    lumina2_pipeline,
    pixart_sigma_pipeline,
    sana_pipeline,
    sd3_pipeline,
)
from tests.support.tiny.qwen import (
    kandinsky5_pipeline,
    krea2_pipeline,
    longcat_image_pipeline,
    qwen_image21_pipeline,
    qwen_image_pipeline,
    z_image_pipeline,
)
from tests.support.tiny.unets import checked_pipeline, sdxl_pipeline, unet_pipeline

__all__ = [
    "aura_flow_pipeline",
    "checked_pipeline",
    "chroma_pipeline",
    "ernie_image_pipeline",
    "flux2_klein_pipeline",
    "flux2_pipeline",
    "flux_pipeline",
    "hidream_pipeline",
    "ideogram4_pipeline",
    "kandinsky5_pipeline",
    "krea2_pipeline",
    "longcat_image_pipeline",
    "lumina2_pipeline",
    "pixart_sigma_pipeline",
    "qwen_image21_pipeline",
    "qwen_image_pipeline",
    "sana_pipeline",
    "save",
    "save_all",
    "save_lora",
    "sd3_pipeline",
    "sdxl_pipeline",
    "unet_pipeline",
    "z_image_pipeline",
]


def save(pipeline: Any, folder: Path) -> None:
    """Write a pipeline as the folders of real models are: processors of texts and pictures are of transformers' classes there."""
    pipeline.save_pretrained(folder, safe_serialization=True)
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace(text_processors.__name__, "transformers"))


def save_lora(make: Callable[[], Any], path: Path, seed: int = 0) -> Path:
    """Write a LoRA with random weights for the attention of a pipeline's denoiser, and of its text encoder if that is CLIP."""
    pipeline = make()
    torch.manual_seed(seed)
    layers: dict[str, Any] = {}
    parts = {
        "unet": ["to_q", "to_v", "to_out.0"],
        "transformer": ["to_q", "to_v"],
        "text_encoder": ["q_proj", "v_proj"],
    }
    for name, targets in parts.items():
        part = getattr(pipeline, name, None)
        if part is None or (name == "text_encoder" and not isinstance(part, CLIPTextModel)):
            continue
        part.add_adapter(LoraConfig(r=2, lora_alpha=4, init_lora_weights=False, target_modules=targets))
        layers[f"{name}_lora_layers"] = get_peft_model_state_dict(part, adapter_name="default")
    type(pipeline).save_lora_weights(path.parent, weight_name=path.name, **layers)
    return path


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
