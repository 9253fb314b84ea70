"""Tiny pipelines whose prompts are read by one of Qwen's language models."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    AutoencoderKLQwenImage21,
    FlowMatchEulerDiscreteScheduler,
    Kandinsky5T2IPipeline,
    Kandinsky5Transformer3DModel,
    Krea2Pipeline,
    Krea2Transformer2DModel,
    LongCatImagePipeline,
    LongCatImageTransformer2DModel,
    QwenImage21Pipeline,
    QwenImage21Transformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    CLIPTextModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Model,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
)

from tests.support.tiny.text import clip_config, processor, qwen3_config, qwen_vl_config, tokenizer
from tests.support.tiny.unets import autoencoder


def z_image_pipeline() -> Any:
    """Return a ZImagePipeline: latents and prompts go to the transformer as lists, prompts of any length."""
    torch.manual_seed(5)
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[4, 6, 6],
    )
    # A fresh transformer leaves these as the memory was.
    torch.nn.init.normal_(transformer.x_pad_token)
    torch.nn.init.normal_(transformer.cap_pad_token)
    return ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(),
        text_encoder=Qwen3Model(qwen3_config(layers=2)).eval(),
        tokenizer=tokenizer(chat=True),
        transformer=transformer,
    )


def qwen_image_pipeline() -> Any:
    """Return a QwenImagePipeline: guidance by a second call of the transformer, and the decoder of a video model."""
    torch.manual_seed(6)
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_qwen_vae(),
        text_encoder=Qwen2_5_VLForConditionalGeneration(qwen_vl_config(Qwen2_5_VLConfig)).eval(),
        tokenizer=tokenizer(chat=True),
        transformer=QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(4, 6, 6),
        ),
    )


def qwen_image21_pipeline() -> Any:
    """Return a QwenImage21Pipeline: a processor of texts and pictures, and pictures whose fourth channel is their opacity."""
    torch.manual_seed(9)
    return QwenImage21Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKLQwenImage21(
            base_dim=4,
            decoder_base_dim=4,
            z_dim=4,
            dim_mult=[1, 1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ).eval(),
        text_encoder=Qwen3VLForConditionalGeneration(qwen_vl_config(Qwen3VLConfig)).eval(),
        processor=processor("Qwen3VLProcessor"),
        transformer=QwenImage21Transformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            context_in_dim=16,
            axes_dims_rope=(4, 6, 6),
        ),
    )


def krea2_pipeline() -> Any:
    """Return a Krea2Pipeline: several layers of the text encoder, and guidance that is on from 0 upwards."""
    torch.manual_seed(10)
    return Krea2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=_qwen_vae(),
        text_encoder=Qwen3VLModel(qwen_vl_config(Qwen3VLConfig)).eval(),
        tokenizer=tokenizer(4096),
        transformer=Krea2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=16,
            timestep_embed_dim=8,
            text_hidden_dim=16,
            num_text_layers=2,
            text_num_attention_heads=2,
            text_num_key_value_heads=2,
            text_intermediate_size=16,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(4, 2, 2),
        ),
        text_encoder_select_layers=(1, 2),
    )


def kandinsky5_pipeline() -> Any:
    """Return a Kandinsky5T2IPipeline: latents with their channels last, and a prompt that no mask covers."""
    torch.manual_seed(11)
    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=16,
        in_text_dim2=16,
        time_dim=16,
        model_dim=16,
        ff_dim=16,
        num_text_blocks=1,
        num_visual_blocks=1,
        patch_size=(1, 2, 2),
        axes_dims=(2, 2, 4),
        visual_cond=False,
    )
    for parameter in transformer.parameters():
        if not parameter.any():
            # A fresh transformer begins with gates that let nothing of the prompt through.
            torch.nn.init.normal_(parameter, std=0.5)
    return Kandinsky5T2IPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        vae=autoencoder(levels=4),
        text_encoder=Qwen2_5_VLForConditionalGeneration(qwen_vl_config(Qwen2_5_VLConfig)).eval(),
        tokenizer=processor("Qwen2_5_VLProcessor"),
        text_encoder_2=CLIPTextModel(clip_config(77)),
        tokenizer_2=tokenizer(77),
        transformer=transformer,
    )


def longcat_image_pipeline() -> Any:
    """Return a LongCatImagePipeline, which reports no steps, and pads prompts to one length."""
    torch.manual_seed(12)
    return LongCatImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=autoencoder(latent_channels=16),
        text_encoder=Qwen2_5_VLForConditionalGeneration(qwen_vl_config(Qwen2_5_VLConfig)).eval(),
        tokenizer=tokenizer(4096),
        text_processor=processor("Qwen2VLProcessor"),
        transformer=LongCatImageTransformer2DModel(
            in_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            axes_dims_rope=[4, 6, 6],
        ),
    )


def _qwen_vae() -> Any:
    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    ).eval()
