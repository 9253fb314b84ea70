"""Tiny pipelines of the other diffusion transformers."""

from typing import Any

import torch
from diffusers import (
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    AutoencoderDC,
    DPMSolverMultistepScheduler,
    ErnieImagePipeline,
    ErnieImageTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
    Ideogram4Pipeline,
    Ideogram4Transformer2DModel,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import (
    CLIPTextModelWithProjection,
    Gemma2Model,
    LlamaConfig,
    LlamaForCausalLM,
    Ministral3Config,
    Ministral3ForCausalLM,
    Qwen3Model,
    Qwen3VLConfig,
    Qwen3VLModel,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

from tests.support.tiny.flux import flux2_vae
from tests.support.tiny.text import (
    POSITIONS,
    clip_config,
    gemma_config,
    qwen3_config,
    qwen_vl_config,
    t5_config,
    tokenizer,
)
from tests.support.tiny.unets import autoencoder


def sd3_pipeline() -> Any:
    """Return a StableDiffusion3Pipeline: a transformer with guidance, without its T5."""
    torch.manual_seed(2)
    first, second = (CLIPTextModelWithProjection(clip_config(projection_dim=16)) for _ in range(2))
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            caption_projection_dim=16,
            pooled_projection_dim=32,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(),
        text_encoder=first,
        tokenizer=tokenizer(),
        text_encoder_2=second,
        tokenizer_2=tokenizer(),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def sana_pipeline() -> Any:
    """Return a SanaPipeline: linear attention, prompts of fixed length, and a size that the call would round and stretch."""
    torch.manual_seed(12)
    return SanaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=AutoencoderDC(
            latent_channels=4,
            attention_head_dim=4,
            encoder_block_types="ResBlock",
            decoder_block_types="ResBlock",
            encoder_block_out_channels=(4,) * 6,
            decoder_block_out_channels=(4,) * 6,
            encoder_layers_per_block=(1,) * 6,
            decoder_layers_per_block=(1,) * 6,
            encoder_qkv_multiscales=((),) * 6,
            decoder_qkv_multiscales=((),) * 6,
            upsample_block_type="interpolate",
            scaling_factor=0.4,
        ).eval(),
        text_encoder=Gemma2Model(gemma_config()).eval(),
        tokenizer=tokenizer(4096),
        transformer=SanaTransformer2DModel(
            sample_size=16,
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=8,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=16,
        ),
    )


def pixart_sigma_pipeline() -> Any:
    """Return a PixArtSigmaPipeline: it tells of its steps by the callback of diffusers' first versions."""
    torch.manual_seed(13)
    return PixArtSigmaPipeline(
        scheduler=DPMSolverMultistepScheduler(),
        vae=autoencoder(levels=4),
        text_encoder=T5EncoderModel(t5_config()).eval(),
        tokenizer=tokenizer(300),
        transformer=PixArtTransformer2DModel(
            # 32 stands for 256 pixels, the smallest size for which it has shapes.
            sample_size=32,
            patch_size=2,
            in_channels=4,
            out_channels=8,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=16,
        ).eval(),
    )


def lumina2_pipeline() -> Any:
    """Return a Lumina2Pipeline: a sequence of each image's prompt and patches, as long as the prompt asks."""
    torch.manual_seed(14)
    return Lumina2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(levels=4),
        text_encoder=Gemma2Model(gemma_config()).eval(),
        tokenizer=tokenizer(4096),
        transformer=Lumina2Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            hidden_size=16,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=2,
            multiple_of=16,
            axes_dim_rope=(4, 2, 2),
            axes_lens=(300, 64, 64),
            cap_feat_dim=16,
        ),
    )


def hidream_pipeline() -> Any:
    """Return a HiDreamImagePipeline: four text encoders, and a mixture of experts."""
    torch.manual_seed(15)
    llama = LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        # The pipeline asks it for its attention weights, which only this way of computing them gives.
        attn_implementation="eager",
    )
    first, second = (CLIPTextModelWithProjection(clip_config(POSITIONS, projection_dim=16)) for _ in range(2))
    return HiDreamImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(levels=4),
        text_encoder=first,
        tokenizer=tokenizer(POSITIONS),
        text_encoder_2=second,
        tokenizer_2=tokenizer(POSITIONS),
        text_encoder_3=T5EncoderModel(t5_config()).eval(),
        tokenizer_3=tokenizer(POSITIONS),
        text_encoder_4=LlamaForCausalLM(llama).eval(),
        tokenizer_4=tokenizer(POSITIONS),
        transformer=HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=[16, 16],
            text_emb_dim=32,
            num_routed_experts=4,
            num_activated_experts=2,
            axes_dims_rope=(4, 2, 2),
            max_resolution=(64, 64),
            llama_layers=(0, 1),
        ).eval(),
    )


def aura_flow_pipeline() -> Any:
    """Return an AuraFlowPipeline, which stands for all those that Backlot does not know."""
    torch.manual_seed(16)
    return AuraFlowPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(),
        text_encoder=UMT5EncoderModel(t5_config(UMT5Config)).eval(),
        tokenizer=tokenizer(256),
        transformer=AuraFlowTransformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_projection_dim=16,
            joint_attention_dim=16,
            pos_embed_max_size=256,
        ),
    )


def ernie_image_pipeline() -> Any:
    """Return an ErnieImagePipeline: a further language model, which would write another prompt."""
    torch.manual_seed(17)
    transformer = ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=16,
        in_channels=16,
        out_channels=16,
        text_in_dim=16,
        rope_axes_dim=(4, 6, 6),
    )
    for parameter in transformer.parameters():
        if not parameter.any():
            # A fresh transformer ends with layers of zeros.
            torch.nn.init.normal_(parameter, std=0.5)
    writer = Ministral3Config(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=16,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        num_hidden_layers=1,
    )
    return ErnieImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=flux2_vae(),
        text_encoder=Qwen3Model(qwen3_config(layers=2)).eval(),
        tokenizer=tokenizer(),
        transformer=transformer,
        pe=Ministral3ForCausalLM(writer).eval(),
        pe_tokenizer=tokenizer(32, chat=True),
    )


def ideogram4_pipeline() -> Any:
    """Return an Ideogram4Pipeline: two transformers, and guidance that is a number for each step if nothing is said."""
    torch.manual_seed(18)
    # The prompt is read from 13 of its layers.
    text = qwen_vl_config(Qwen3VLConfig)
    text.text_config.num_hidden_layers = 36
    text.text_config.layer_types = ["full_attention"] * 36
    with_prompt, without = (
        Ideogram4Transformer2DModel(
            in_channels=16,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            intermediate_size=16,
            adaln_dim=8,
            llm_features_dim=13 * 16,
            mrope_section=(4, 2, 2),
        )
        for _ in range(2)
    )
    return Ideogram4Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=flux2_vae(),
        text_encoder=Qwen3VLModel(text).eval(),
        tokenizer=tokenizer(4096, chat=True),
        transformer=with_prompt,
        unconditional_transformer=without,
    )
