"""The components of a pipeline that the keys of a checkpoint in one file belong to."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipelines.parts_of_file import component_of, held_components

SD = ("scheduler", "text_encoder", "tokenizer", "unet", "vae")
SDXL = (*SD, "text_encoder_2")
FLUX = ("scheduler", "text_encoder", "text_encoder_2", "transformer", "vae")
SD3 = (*FLUX, "text_encoder_3")


@pytest.mark.parametrize(
    ("key", "components", "component"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", SD, "unet"),
        ("double_blocks.0.img_attn.qkv.weight", FLUX, "transformer"),
        ("first_stage_model.decoder.conv_in.weight", SD, "vae"),
        ("vae.decoder.conv_in.weight", FLUX, "vae"),
        ("cond_stage_model.transformer.text_model.final_layer_norm.bias", SD, "text_encoder"),
        ("conditioner.embedders.0.transformer.text_model.final_layer_norm.bias", SDXL, "text_encoder"),
        ("conditioner.embedders.1.model.positional_embedding", SDXL, "text_encoder_2"),
        # T5 is the third encoder of Stable Diffusion 3, and the second of FLUX.1.
        ("text_encoders.t5xxl.transformer.shared.weight", SD3, "text_encoder_3"),
        ("text_encoders.t5xxl.transformer.shared.weight", FLUX, "text_encoder_2"),
        ("text_encoders.clip_l.transformer.text_model.final_layer_norm.bias", FLUX, "text_encoder"),
        # Nothing reads these.
        ("text_encoders.qwen25_7b.transformer.model.norm.weight", FLUX, None),
        ("model_ema.diffusion_modelinput_blocks00weight", SD, None),
    ],
)
def test_a_key_belongs_to_a_component(key: str, components: tuple[str, ...], component: str | None) -> None:
    assert component_of(key, components) == component


def test_a_denoiser_alone_holds_no_other_component(tmp_path: Path) -> None:
    file = tmp_path / "toon.safetensors"
    save_file({"double_blocks.0.img_attn.qkv.weight": np.zeros(2, np.float16)}, file)
    assert held_components(file, FLUX) == {"transformer"}
    pickled = tmp_path / "toon.ckpt"
    pickled.write_bytes(b"-")
    assert held_components(pickled, SD) == {"unet"}
