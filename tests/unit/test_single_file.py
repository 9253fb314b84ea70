"""Files that people share as models, but that no card can run."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipelines.checks.single_file import why_no_checkpoint

UNET = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.mark.parametrize(
    ("told", "keys"),
    [
        ("is a LoRA", ["lora_unet_down_blocks_0.lora_down.weight"]),
        ("is a LoRA", ["unet.down.0.to_q_lora.up.weight"]),
        ("is a LoRA", ["lycoris_down_blocks_0.lokr_w1"]),
        ("is a ControlNet", ["controlnet_cond_embedding.conv_in.weight", "conv_in.weight"]),
        ("is a ControlNet", ["control_model.input_blocks.1.0.weight"]),
        ("is an IP adapter", ["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"]),
        ("is a VAE alone", ["decoder.conv_in.weight", "encoder.conv_in.weight"]),
        ("is a VAE alone", ["decoder.conv1.weight"]),
        ("is a text encoder alone", ["text_model.embeddings.token_embedding.weight"]),
        ("is a text encoder alone", ["shared.weight", "encoder.block.0.layer.0.SelfAttention.k.weight"]),
        ("is a text encoder alone", ["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight"]),
        ("is an embedding", ["emb_params"]),
        (
            "is quantized with scales",
            ["double_blocks.0.img_attn.qkv.weight", "double_blocks.0.img_attn.qkv.scale_weight"],
        ),
        ("is quantized with scales", ["double_blocks.0.img_attn.qkv.weight", "scaled_fp8"]),
        ("is quantized with scales", ["blocks.0.qkv.weight", "blocks.0.qkv.comfy_quant", "blocks.0.qkv.weight_scale"]),
        ("is quantized with scales", ["transformer_blocks.0.qkv.qweight", "transformer_blocks.0.qkv.wscales"]),
        ("is quantized with scales", ["blocks.0.weight", "blocks.0.weight.quant_state.bitsandbytes__nf4"]),
        ("is a refiner of SDXL", [UNET, "conditioner.embedders.0.model.text_projection"]),
        # Whole models, with their text encoders and their VAEs, and denoisers alone, are not refused.
        (None, [UNET, "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"]),
        (None, [UNET, "first_stage_model.decoder.conv_in.weight", "first_stage_model.encoder.conv_in.weight"]),
        (None, [UNET, "conditioner.embedders.1.model.positional_embedding"]),
        (None, ["double_blocks.0.img_attn.qkv.weight", "double_blocks.0.img_attn.norm.key_norm.scale"]),
        (
            None,
            [
                "text_encoders.t5xxl.transformer.shared.weight",
                "model.diffusion_model.double_blocks.0.img_attn.qkv.weight",
            ],
        ),
        (None, ["layers.0.attention.qkv.weight", "noise_refiner.0.attention.qkv.weight"]),
    ],
)
def test_what_a_file_holds_is_told_by_its_keys(tmp_path: Path, told: str | None, keys: list[str]) -> None:
    file = tmp_path / "file.safetensors"
    save_file({key: np.zeros((2, 4, 3, 3), np.float16) for key in keys}, file)
    found = why_no_checkpoint(file)
    assert found is None if told is None else str(found).startswith(f"file.safetensors {told}")


def test_a_model_that_fills_in_a_picture_is_told_by_its_first_layer(tmp_path: Path) -> None:
    save_file({UNET: np.zeros((2, 9, 3, 3), np.float16)}, tmp_path / "inpainting.safetensors")
    assert "takes 9 channels instead of 4" in str(why_no_checkpoint(tmp_path / "inpainting.safetensors"))


def test_one_shard_is_no_model(tmp_path: Path) -> None:
    for name, told in (("m-00001-of-00002", "is one of 2 shards"), ("m-00001-of-00001", "None")):
        save_file({UNET: np.zeros((2, 4, 3, 3), np.float16)}, tmp_path / f"{name}.safetensors")
        assert told in str(why_no_checkpoint(tmp_path / f"{name}.safetensors"))
