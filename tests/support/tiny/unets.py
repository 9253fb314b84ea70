"""Tiny Stable Diffusion 1.5 and SDXL."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextModel, CLIPTextModelWithProjection

from tests.support.tiny.text import clip_config, tokenizer


def autoencoder(levels: int = 5, latent_channels: int = 4) -> AutoencoderKL:
    """Return a VAE that makes 2^(levels - 1) pixels of a latent, in each direction."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=(4, 4, 8, 8, 8)[:levels],
        layers_per_block=1,
        mid_block_add_attention=False,
        shift_factor=0.0,
        norm_num_groups=4,
        latent_channels=latent_channels,
        sample_size=32,
    )


def unet_pipeline(vae_levels: int = 5) -> Any:
    """Return a StableDiffusionPipeline of some 100,000 parameters, the same one on every call."""
    torch.manual_seed(0)
    return StableDiffusionPipeline(
        vae=autoencoder(vae_levels),
        text_encoder=CLIPTextModel(clip_config()),
        tokenizer=tokenizer(),
        unet=UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
        ),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def checked_pipeline() -> Any:
    """Return a StableDiffusionPipeline whose safety checker objects to every image."""
    plain = unet_pipeline()
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(vision_config={**vision, "image_size": 32, "patch_size": 16}, text_config=vision, projection_dim=16)
    )
    with torch.no_grad():
        # No similarity is below these thresholds.
        checker.concept_embeds_weights.fill_(-2.0)
    return StableDiffusionPipeline(
        **{
            **plain.components,
            "safety_checker": checker,
            "feature_extractor": CLIPImageProcessor(size=32, crop_size=32),
        }
    )


def sdxl_pipeline() -> Any:
    """Return a StableDiffusionXLPipeline: two text encoders and sizes as added conditions."""
    plain = unet_pipeline()
    torch.manual_seed(1)
    return StableDiffusionXLPipeline(
        vae=plain.vae,
        text_encoder=plain.text_encoder,
        text_encoder_2=CLIPTextModelWithProjection(clip_config(projection_dim=16)),
        tokenizer=plain.tokenizer,
        tokenizer_2=plain.tokenizer,
        unet=UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=4,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 6 * 8,
        ),
        scheduler=EulerDiscreteScheduler(),
        add_watermarker=False,
    )
