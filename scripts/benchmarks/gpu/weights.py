"""Pipelines with random weights, as large as the real ones: they compute as long, and nothing is downloaded.

Denoisers, VAEs and CLIP have the configurations of the real models. Larger text encoders have the real width but two layers:
they run once an image, and their weights would only fill the disk.
"""

import sys
from collections.abc import Callable
from typing import Any

import msgspec
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)

from tests.support import tiny
from tests.support.tiny.text import WORDS, tokenizer

#: Layers of a large text encoder.
_LAYERS = 2


def _sdxl_denoiser() -> Any:
    return UNet2DConditionModel(
        sample_size=128,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(320, 640, 1280),
        layers_per_block=2,
        cross_attention_dim=2048,
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def _sdxl(denoiser: Any) -> Any:
    return StableDiffusionXLPipeline(
        vae=_vae(latent_channels=4, scaling_factor=0.13025),
        text_encoder=CLIPTextModel(_clip(768, 12, 12)),
        text_encoder_2=CLIPTextModelWithProjection(_clip(1280, 32, 20)),
        tokenizer=tokenizer(77),
        tokenizer_2=tokenizer(77),
        unet=denoiser,
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        add_watermarker=False,
    )


def _flux(denoiser: Any) -> Any:
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_flux_vae(),
        text_encoder=CLIPTextModel(_clip(768, 12, 12)),
        tokenizer=tokenizer(77),
        text_encoder_2=T5EncoderModel(
            T5Config(
                vocab_size=32128,
                d_model=4096,
                d_kv=64,
                d_ff=10240,
                num_layers=_LAYERS,
                num_heads=64,
                feed_forward_proj="gated-gelu",
                pad_token_id=0,
                eos_token_id=2,
            )
        ),
        tokenizer_2=tokenizer(512),
        transformer=denoiser,
    )


def _z_image(denoiser: Any) -> Any:
    # A fresh denoiser leaves these parameters uninitialised.
    torch.nn.init.normal_(denoiser.x_pad_token)
    torch.nn.init.normal_(denoiser.cap_pad_token)
    return ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_flux_vae(),
        text_encoder=Qwen3Model(
            Qwen3Config(
                vocab_size=len(WORDS),
                hidden_size=2560,
                intermediate_size=9728,
                num_hidden_layers=_LAYERS,
                num_attention_heads=32,
                num_key_value_heads=8,
                head_dim=128,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
            )
        ),
        tokenizer=tokenizer(chat=True),
        transformer=denoiser,
    )


def _qwen_image(denoiser: Any) -> Any:
    text = {
        "vocab_size": len(WORDS),
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24]},
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 3584}
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, max_shift=0.9, shift_terminal=0.02),
        vae=AutoencoderKLQwenImage(),
        text_encoder=Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)),
        tokenizer=tokenizer(chat=True),
        transformer=denoiser,
    )


class Makers(msgspec.Struct, frozen=True):
    """The functions that make one model."""

    #: Makes the denoiser alone, on the device and in the dtype that are torch's defaults.
    denoiser: Callable[[], Any]
    #: Makes the pipeline of a denoiser.
    pipeline: Callable[[Any], Any]
    #: Makes a tiny one of the same classes.
    tiny: Callable[[], Any]


#: By the models' names in shapes.py.
MAKERS = {
    "sdxl": Makers(_sdxl_denoiser, _sdxl, tiny.sdxl_pipeline),
    "flux1": Makers(lambda: FluxTransformer2DModel(guidance_embeds=True), _flux, tiny.flux_pipeline),
    "z-image": Makers(ZImageTransformer2DModel, _z_image, tiny.z_image_pipeline),
    "qwen-image": Makers(QwenImageTransformer2DModel, _qwen_image, tiny.qwen_image_pipeline),
}


def made(makers: Makers, device: str) -> Any:
    """Return the pipeline in bfloat16, made on the device."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    torch.manual_seed(0)
    try:
        with torch.device(device):
            return makers.pipeline(makers.denoiser())
    finally:
        torch.set_default_dtype(before)


def _clip(width: int, layers: int, heads: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=77,
        projection_dim=width,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )


def _vae(**options: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        sample_size=1024,
        **options,
    )


def _flux_vae() -> AutoencoderKL:
    return _vae(
        latent_channels=16,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def main() -> None:
    """Write a pipeline's folder. It runs in a process of its own, whose end frees the device's memory."""
    name, device, folder = sys.argv[1:]
    pipeline = MAKERS[name].tiny() if device == "tiny" else made(MAKERS[name], device)
    pipeline.save_pretrained(folder, safe_serialization=True)


if __name__ == "__main__":
    main()
