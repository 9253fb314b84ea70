"""Stable Diffusion 1.5 and SDXL as people share them: one file, with the keys of the program that they were first made with.

diffusers reads these keys; this module writes them, for pipelines without attention in their decoder.
"""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Weights = dict[str, torch.Tensor]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_OPEN_CLIP = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding": "token_embedding",
    "final_layer_norm": "ln_final",
    "encoder.layers": "transformer.resblocks",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def save_as_one_file(pipeline: Any, file: Path) -> None:
    """Write the weights of a StableDiffusionPipeline, or of a StableDiffusionXLPipeline, to one safetensors file."""
    layers = pipeline.unet.config.layers_per_block
    weights: Weights = {}
    for key, tensor in pipeline.unet.state_dict().items():
        weights[f"model.diffusion_model.{_unet_key(key, layers)}"] = tensor
    levels = len(pipeline.vae.config.block_out_channels)
    for key, tensor in pipeline.vae.state_dict().items():
        weights[f"first_stage_model.{_vae_key(key, levels)}"] = tensor
    is_xl = hasattr(pipeline, "text_encoder_2")
    clip = "conditioner.embedders.0.transformer" if is_xl else "cond_stage_model.transformer"
    for key, tensor in pipeline.text_encoder.state_dict().items():
        weights[f"{clip}.text_model.{key.removeprefix('text_model.')}"] = tensor
    if is_xl:
        for key, tensor in _open_clip(pipeline.text_encoder_2.state_dict()).items():
            weights[f"conditioner.embedders.1.model.{key}"] = tensor
    save_file({key: tensor.clone().contiguous() for key, tensor in weights.items()}, file, {"format": "pt"})


def _open_clip(weights: Weights) -> Weights:
    """Return the weights of a CLIPTextModelWithProjection with the keys of OpenCLIP."""
    found: Weights = {"text_projection": weights["text_projection.weight"].T}
    for key, tensor in weights.items():
        inner = key.removeprefix("text_model.")
        for name, other in _OPEN_CLIP.items():
            inner = inner.replace(name, other)
        if ".self_attn.q_proj." in inner:
            parts = [weights[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            found[inner.replace("self_attn.q_proj.", "attn.in_proj_")] = torch.cat(parts)
        elif ".self_attn." not in inner and inner != "text_projection.weight":
            found[inner] = tensor
    return found


def _unet_key(key: str, layers: int) -> str:
    for end, ldm in _UNET_ENDS.items():
        if key.startswith(f"{end}."):
            return ldm + key.removeprefix(end)
    if found := re.match(r"down_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", key):
        block = 1 + int(found[1]) * (layers + 1) + int(found[3])
        return f"input_blocks.{block}.{_inner(found[2], found[4])}"
    if found := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", key):
        return f"input_blocks.{(int(found[1]) + 1) * (layers + 1)}.0.op.{found[2]}"
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", key):
        place = 1 if found[1] == "attentions" else 2 * int(found[2])
        return f"middle_block.{place}.{_inner(found[1], found[3]).split('.', 1)[1]}"
    if found := re.match(r"up_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", key):
        return f"output_blocks.{int(found[1]) * (layers + 1) + int(found[3])}.{_inner(found[2], found[4])}"
    found = re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.*)", key)
    assert found is not None, key
    # The first up block of the tiny model has attention, which comes before the upsampler.
    return f"output_blocks.{int(found[1]) * (layers + 1) + layers}.2.conv.{found[2]}"


def _inner(kind: str, rest: str) -> str:
    """Return the end of a key, with the place of a residual or of an attention in its block."""
    if kind == "attentions":
        return f"1.{rest}"
    name, _, end = rest.rpartition(".")
    return f"0.{_RESNET[name]}.{end}"


def _vae_key(key: str, levels: int) -> str:
    key = re.sub(r"decoder\.up_blocks\.(\d+)", lambda found: f"decoder.up.{levels - 1 - int(found[1])}", key)
    key = re.sub(r"encoder\.down_blocks\.(\d+)", r"encoder.down.\1", key)
    key = re.sub(r"mid_block\.resnets\.(\d+)", lambda found: f"mid.block_{int(found[1]) + 1}", key)
    key = re.sub(r"resnets\.(\d+)", r"block.\1", key)
    for name, ldm in {
        "downsamplers.0": "downsample",
        "upsamplers.0": "upsample",
        "conv_norm_out": "norm_out",
        "conv_shortcut": "nin_shortcut",
    }.items():
        key = key.replace(name, ldm)
    return key
