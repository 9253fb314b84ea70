"""Tiny pipelines of the FLUX kind: packed latents, position ids, double and single blocks."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    ChromaPipeline,
    ChromaTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
)
from transformers import (
    CLIPTextModel,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Qwen3ForCausalLM,
    T5EncoderModel,
)

from tests.support.tiny.text import clip_config, processor, qwen3_config, t5_config, tokenizer
from tests.support.tiny.unets import autoencoder


def flux_pipeline() -> Any:
    """Return a FluxPipeline: position ids shared by the batch, guidance as an input of the denoiser."""
    torch.manual_seed(3)
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(),
        text_encoder=CLIPTextModel(clip_config()),
        tokenizer=tokenizer(),
        # from_pretrained does this; a fresh T5 would drop out.
        text_encoder_2=T5EncoderModel(t5_config()).eval(),
        tokenizer_2=tokenizer(),
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        ),
    )


def chroma_pipeline() -> Any:
    """Return a ChromaPipeline: FLUX without distilled guidance, with a mask over the prompt and true guidance."""
    torch.manual_seed(7)
    return ChromaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(),
        text_encoder=T5EncoderModel(t5_config()).eval(),
        tokenizer=tokenizer(512),
        transformer=ChromaTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(4, 6, 6),
            approximator_num_channels=16,
            approximator_hidden_dim=16,
            approximator_layers=1,
        ),
    )


def flux2_pipeline() -> Any:
    """Return a Flux2Pipeline: prompts by a language model that can see, guidance as an input of the denoiser."""
    torch.manual_seed(8)
    text = {
        "model_type": "mistral",
        "vocab_size": 16,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        # The prompt is read from its 10th, 20th and 30th layer.
        "num_hidden_layers": 31,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "image_size": 32,
        "patch_size": 16,
    }
    return Flux2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=flux2_vae(),
        text_encoder=Mistral3ForConditionalGeneration(
            Mistral3Config(text_config=text, vision_config=vision, image_token_index=3, vision_feature_layer=-1)
        ).eval(),
        tokenizer=processor("PixtralProcessor"),
        transformer=_flux2_transformer(guidance_embeds=True),
    )


def flux2_klein_pipeline() -> Any:
    """Return a Flux2KleinPipeline: prompts by a language model, position ids with a batch dimension, no guidance."""
    torch.manual_seed(4)
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=flux2_vae(),
        # The prompt is read from its 9th, 18th and 27th layer.
        text_encoder=Qwen3ForCausalLM(qwen3_config(layers=28)).eval(),
        tokenizer=tokenizer(chat=True),
        transformer=_flux2_transformer(guidance_embeds=False),
        is_distilled=True,
    )


def flux2_vae() -> Any:
    return AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 4),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    ).eval()


def _flux2_transformer(*, guidance_embeds: bool) -> Any:
    return Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * 16,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )
