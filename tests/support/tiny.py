"""Tiny but genuine diffusers pipelines with random weights, each a folder that the server loads like any other.

The broken ones really produce what they are named for: their weights do it, not a patch of the code.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
)


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


def checked_pipeline() -> Any:
    """A StableDiffusionPipeline whose safety checker objects to every image."""
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


def flux2_klein_pipeline() -> Any:
    """A Flux2KleinPipeline: prompts by a language model, position ids with a batch dimension, no guidance."""
    plain = unet_pipeline()
    torch.manual_seed(4)
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(4, 4),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=32,
        ).eval(),
        # The prompt is read off its 9th, 18th and 27th layer.
        text_encoder=Qwen3ForCausalLM(_qwen3_config(layers=28)).eval(),
        tokenizer=_chat_tokenizer(plain),
        transformer=Flux2Transformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * 16,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
        is_distilled=True,
    )


def z_image_pipeline() -> Any:
    """A ZImagePipeline: latents and prompts go to the transformer as lists, prompts of any length."""
    plain = unet_pipeline()
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
    # A fresh one leaves these as the memory was.
    torch.nn.init.normal_(transformer.x_pad_token)
    torch.nn.init.normal_(transformer.cap_pad_token)
    return ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=plain.vae,
        text_encoder=Qwen3Model(_qwen3_config(layers=2)).eval(),
        tokenizer=_chat_tokenizer(plain),
        transformer=transformer,
    )


def qwen_image_pipeline() -> Any:
    """A QwenImagePipeline: guidance by a second call of the transformer, and the decoder of a video model."""
    plain = unet_pipeline()
    torch.manual_seed(6)
    text = {
        **_qwen3_config(layers=2).to_dict(),
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
    }
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ).eval(),
        text_encoder=Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(text_config={**text, "model_type": "qwen2_5_vl_text"}, vision_config=vision)
        ).eval(),
        tokenizer=_chat_tokenizer(plain),
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


def _qwen3_config(layers: int) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def _chat_tokenizer(plain: Any) -> Any:
    tokenizer = plain.tokenizer
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return tokenizer


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
