"""Checkpoints in one file, beside configurations that are for their kind and for others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipelines.checks.fit import options_of, problems_of_fit
from pipelines.model_card import ModelCard
from pipelines.model_index import read_model_index
from pipelines.weight_files import read_tensors
from tests.support.weights import bare_folder

Shapes = dict[str, tuple[int, ...]]
UNET = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
DEV: Shapes = {
    "double_blocks.0.img_attn.qkv.weight": (6, 2),
    "txt_in.weight": (2, 4096),
    "guidance_in.in_layer.bias": (2,),
}
SCHNELL = {key: shape for key, shape in DEV.items() if "guidance" not in key}
SD3 = {"joint_blocks.0.x_block.attn.qkv.weight": (6, 2), "context_embedder.weight": (2, 4096)}
CHROMA = {**SCHNELL, "distilled_guidance_layer.in_proj.bias": (2,)}


def folder_of(path: Path, kind: str, config: dict[str, Any], scheduler: dict[str, Any] | None = None) -> Path:
    """Return a folder whose denoiser is of this class."""
    folder = bare_folder(path, scheduler="EulerDiscreteScheduler")
    index = json.loads((folder / "model_index.json").read_text())
    name = "unet" if kind.startswith("UNet") else "transformer"
    index[name] = ["diffusers", kind]
    if name == "transformer":
        del index["unet"]
        (folder / "unet").rename(folder / name)
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / name / "config.json").write_text(json.dumps(config))
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler or {}))
    return folder


def told(tmp_path: Path, kind: str, config: dict[str, Any], shapes: Shapes, **card: Any) -> str:
    folder, file = folder_of(tmp_path / "folder", kind, config), tmp_path / "toon.safetensors"
    save_file({key: np.zeros(shape, np.float16) for key, shape in shapes.items()}, file)
    values = {"licence": "l", "tiers": ("1K",), "steps": 4, "guidance": 5.0, **card}
    found = ModelCard.from_flat(name="m", folder=str(folder), file=str(file), **values)
    return "; ".join(problems_of_fit(found, folder, read_model_index(folder)))


@pytest.mark.parametrize(
    ("kind", "config", "shapes", "problem"),
    [
        ("UNet2DConditionModel", {"cross_attention_dim": 768}, {UNET: (2, 768)}, ""),
        ("UNet2DConditionModel", {"cross_attention_dim": 768}, {UNET: (2, 2048)}, "768 numbers"),
        ("UNet2DConditionModel", {"cross_attention_dim": 2048}, DEV, "of FLUX or Chroma"),
        (
            "UNet2DConditionModel",
            {"cross_attention_dim": 2048},
            {"layers.0.qkv.weight": (2, 2)},
            "has no layer that does",
        ),
        # Several widths in the config are not compared with the weights.
        ("UNet2DConditionModel", {"cross_attention_dim": [768, 1024]}, {UNET: (2, 768)}, ""),
        ("FluxTransformer2DModel", {"joint_attention_dim": 4096, "guidance_embeds": True}, DEV, ""),
        ("FluxTransformer2DModel", {"joint_attention_dim": 4096, "guidance_embeds": False}, SCHNELL, ""),
        (
            "FluxTransformer2DModel",
            {"joint_attention_dim": 4096, "guidance_embeds": False},
            DEV,
            "is told its guidance",
        ),
        ("FluxTransformer2DModel", {"joint_attention_dim": 4096, "guidance_embeds": True}, SCHNELL, "is not told"),
        ("FluxTransformer2DModel", {"joint_attention_dim": 4096, "guidance_embeds": False}, CHROMA, "of Chroma"),
        (
            "FluxTransformer2DModel",
            {"joint_attention_dim": 4096, "guidance_embeds": False},
            SD3,
            "of Stable Diffusion 3",
        ),
        ("SD3Transformer2DModel", {"joint_attention_dim": 4096}, SD3, ""),
        ("SD3Transformer2DModel", {"joint_attention_dim": 4096}, SCHNELL, "of FLUX or Chroma"),
        ("ChromaTransformer2DModel", {"joint_attention_dim": 4096}, CHROMA, ""),
        ("ZImageTransformer2DModel", {"cap_feat_dim": 2560}, {"cap_embedder.1.weight": (2, 2560)}, ""),
        ("ZImageTransformer2DModel", {"cap_feat_dim": 2560}, {"cap_embedder.1.weight": (2, 2304)}, "reads 2304"),
        # Classes that are not known here are told when they are loaded.
        ("HiDreamImageTransformer2DModel", {"caption_channels": [4096]}, DEV, ""),
        ("PixArtTransformer2DModel", {}, DEV, "diffusers reads a PixArtTransformer2DModel from folders alone"),
    ],
)
def test_a_file_of_another_family_is_told_by_its_header(
    tmp_path: Path, kind: str, config: dict[str, Any], shapes: Shapes, problem: str
) -> None:
    found = told(tmp_path, kind, config, shapes)
    assert problem in found
    assert bool(found) == bool(problem)


def test_a_checkpoint_that_predicts_v_needs_a_scheduler_that_does(tmp_path: Path) -> None:
    shapes: Shapes = {UNET: (2, 2048), "v_pred": (0,), "ztsnr": (0,)}
    options = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    config = {"cross_attention_dim": 2048}
    found = told(tmp_path / "1", "UNet2DConditionModel", config, shapes)
    assert found.endswith('add prediction_type = "v_prediction", rescale_betas_zero_snr = true to scheduler_options')
    assert told(tmp_path / "2", "UNet2DConditionModel", config, shapes, scheduler_options=options) == ""
    tensors = read_tensors(tmp_path / "1" / "toon.safetensors")
    folder = folder_of(tmp_path / "3", "UNet2DConditionModel", config, {"prediction_type": "v_prediction"})
    assert options_of(tensors, folder, "EulerDiscreteScheduler") == {"rescale_betas_zero_snr": True}
    # This scheduler has no such option.
    assert options_of(tensors, folder, "PNDMScheduler") == {}
