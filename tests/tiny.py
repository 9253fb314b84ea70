"""Tiny but genuine diffusers pipelines with random weights, each a folder that the server loads like any other.

The broken ones really produce what they are named for: their weights do it, not a patch of the code.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

#: The VAE's five levels halve four times; the UNet halves once more.
MULTIPLE = 32


def unet_pipeline(vae_levels: int = 5) -> Any:
    """A StableDiffusionPipeline of some 100,000 parameters, the same one on every call."""
    torch.manual_seed(0)
    words = ["<pad>", "<s>", "</s>", "<unk>", "marble", "wood", "warm", "cool", "red", "navy"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return StableDiffusionPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * vae_levels,
            up_block_types=("UpDecoderBlock2D",) * vae_levels,
            block_out_channels=(4, 4, 8, 8, 8)[:vae_levels],
            layers_per_block=1,
            mid_block_add_attention=False,
            shift_factor=0.0,
            norm_num_groups=4,
            latent_channels=4,
            sample_size=32,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=16,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=0,
            )
        ),
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            model_max_length=16,
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            unk_token="<unk>",
        ),
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


def sdxl_pipeline() -> Any:
    """A StableDiffusionXLPipeline: two text encoders and sizes as added conditions."""
    plain = unet_pipeline()
    torch.manual_seed(1)
    return StableDiffusionXLPipeline(
        vae=plain.vae,
        text_encoder=plain.text_encoder,
        text_encoder_2=CLIPTextModelWithProjection(_clip_config(plain)),
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


def sd3_pipeline() -> Any:
    """A StableDiffusion3Pipeline: a transformer with guidance, without its T5."""
    plain = unet_pipeline()
    torch.manual_seed(2)
    first, second = (CLIPTextModelWithProjection(_clip_config(plain)) for _ in range(2))
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
        vae=plain.vae,
        text_encoder=first,
        tokenizer=plain.tokenizer,
        text_encoder_2=second,
        tokenizer_2=plain.tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )


def flux_pipeline() -> Any:
    """A FluxPipeline: packed latents, position ids shared by the batch, guidance as an input."""
    plain = unet_pipeline()
    torch.manual_seed(3)
    t5 = T5Config(vocab_size=16, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, pad_token_id=0, eos_token_id=2)
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=plain.vae,
        text_encoder=plain.text_encoder,
        tokenizer=plain.tokenizer,
        # from_pretrained does this; a fresh T5 would drop out.
        text_encoder_2=T5EncoderModel(t5).eval(),
        tokenizer_2=plain.tokenizer,
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


def _clip_config(plain: Any) -> CLIPTextConfig:
    return CLIPTextConfig(**{**plain.text_encoder.config.to_dict(), "projection_dim": 16})


def save_all(folder: Path) -> dict[str, Path]:
    """Every pipeline as a folder, by name: `good`, and those that produce `nan`, `black` and `flat` images."""
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
