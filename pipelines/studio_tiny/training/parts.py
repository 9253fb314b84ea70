"""The components of studio-tiny, as diffusers and transformers know them, with fresh weights.

The autoencoder turns a 512 × 512 picture into a 32 × 32 grid of 24 channels. The denoiser is narrow at the levels with a fine
grid and wide at the coarse ones. It gets the text twice: pooled into the time embedding, which scales and shifts every block
(FiLM, Perez et al. 2018), and by cross-attention at the lower levels.
"""

from typing import Any

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from pipelines.studio_tiny.vocabulary import LENGTH, LEVELS, MOODS, PLACES, SCENES, words

LATENT_CHANNELS = 24
TEXT_WIDTH = 192
_WIDTH = 32
#: The kernel that makes an enlargement by repetition bilinear.
_SMOOTH = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
#: Tokens of a prompt: start, the words, end.
PROMPT_LENGTH = LENGTH + 2
_PAD, _START, _END, _UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"


def core_autoencoder() -> Any:
    """Return the autoencoder of half-size pictures: each 8 × 8 pixels become one place of the grid."""
    return _autoencoder(encoder_blocks=(0, 1, 2, 3), decoder_blocks=(4, 4, 4, 2))


def autoencoder(core: Any | None = None) -> Any:
    """Return the autoencoder of full-size pictures, with one level more than its core: each 16 × 16 pixels become one place.

    It has no block at full size, which would take as long as all else together; the level below draws edges as well. A
    trained core gives its weights. To learn all levels at once took ten times as long and ended worse.
    """
    vae = _autoencoder(encoder_blocks=(0, 0, 1, 2, 3), decoder_blocks=(4, 4, 4, 2, 0))
    if core is None:
        return vae
    with torch.no_grad():
        for old, new in zip(core.encoder.layers[1:], vae.encoder.layers[2:], strict=True):
            new.load_state_dict(old.state_dict())
        vae.encoder.layers[1].weight[:, :3] = core.encoder.layers[0].weight
        *inner, last = core.decoder.layers
        for old, new in zip(inner, vae.decoder.layers, strict=False):
            new.load_state_dict(old.state_dict())
        # The new level begins as an enlargement by two.
        enlarged = vae.decoder.layers[len(inner) + 1]
        enlarged.weight.copy_(torch.eye(_WIDTH)[..., None, None] * _SMOOTH)
        vae.decoder.layers[-1].load_state_dict(last.state_dict())
    return vae


def _autoencoder(encoder_blocks: tuple[int, ...], decoder_blocks: tuple[int, ...]) -> Any:
    """Return an autoencoder without normalisation layers, which would have to learn absolute colours first."""
    torch.manual_seed(0)
    vae = AutoencoderTiny(
        encoder_block_out_channels=(_WIDTH,) * len(encoder_blocks),
        decoder_block_out_channels=(_WIDTH,) * len(decoder_blocks),
        num_encoder_blocks=encoder_blocks,
        num_decoder_blocks=decoder_blocks,
        latent_channels=LATENT_CHANNELS,
        upsampling_scaling_factor=2,
        # The encoder's own last layer centres and scales the latents.
        scaling_factor=1.0,
    )
    _keep_colors(vae)
    return vae


def _keep_colors(vae: Any) -> None:
    """Let an autoencoder begin as a mean over squares and a bilinear enlargement, with the colour in three channels.

    Otherwise the latents lose their colour early; with enlargement by repetition the squares stay visible for very long.
    """
    identity = torch.eye(3)
    for part, coming, going in ((vae.encoder, (1.0, 0.0), (4.0, -2.0)), (vae.decoder, (0.25, 0.5), (1.0, 0.0))):
        layers = list(part.layers)
        for layer in part.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        for layer in layers:
            if type(layer).__name__ == "AutoencoderTinyBlock":
                # Residual branches begin weak, so that the blocks begin nearly as the identity.
                layer.conv[-1].weight.data *= 0.1
                layer.conv[-1].weight.data[:3] = 0
                layer.conv[-1].bias.data.zero_()
        for index, layer in enumerate(layers):
            if not isinstance(layer, torch.nn.Conv2d):
                continue
            scale, shift = coming if index == 0 else going if index == len(layers) - 1 else (1.0, 0.0)
            layer.weight.data[:3] = 0
            if layer.stride == (2, 2):
                layer.weight.data[:3, :3, 1:, 1:] = identity[..., None, None] / 4
            elif isinstance(layers[index - 1], torch.nn.Upsample):
                layer.weight.data[:3, :3] = identity[..., None, None] * _SMOOTH
            else:
                layer.weight.data[:3, :3, 1, 1] = identity * scale
            if layer.bias is not None:
                layer.bias.data[:3] = shift


def tokenizer() -> Any:
    """Return the tokenizer, with one token for each word of the closed vocabulary."""
    listed = [_PAD, _START, _END, _UNKNOWN, *words()]
    inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(listed)}, unk_token=_UNKNOWN))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A {_END}", special_tokens=[(_START, 1), (_END, 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        model_max_length=PROMPT_LENGTH,
        bos_token=_START,
        eos_token=_END,
        pad_token=_PAD,
        unk_token=_UNKNOWN,
    )


def text_encoder() -> Any:
    """Return the text encoder. One layer is enough for words at fixed places."""
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=4 + len(words()),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=PROMPT_LENGTH,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )
    _order_levels(encoder)
    return encoder


def _order_levels(encoder: Any) -> None:
    """Let the words of a colour channel begin as smooth functions of its level, so that near colours are near at once."""
    table = encoder.get_input_embeddings().weight.data
    generator = torch.Generator().manual_seed(0)
    level = torch.linspace(-1, 1, LEVELS)
    features = torch.stack([level, level**2, *(torch.cos(torch.pi * k * (level + 1) / 2) for k in (2, 3, 4, 6))], dim=1)
    first = 4 + len(SCENES) + len(MOODS)
    for index in range(len(PLACES)):
        axes = torch.randn(features.shape[1], table.shape[1], generator=generator) / table.shape[1] ** 0.5
        start = first + index * (LEVELS + 1)
        table[start : start + LEVELS] = features @ axes


def denoiser() -> Any:
    """Return the UNet: from latents (batch, 24, height / 16, width / 16) and text (batch, 19, 192) it predicts velocity."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        block_out_channels=(112, 144, 176, 192),
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=TEXT_WIDTH,
        # diffusers reads this as the number of heads.
        attention_head_dim=4,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
    )


def scheduler() -> Any:
    """Return DDIM with a zero terminal SNR, which makes very bright and very dark pictures possible (Lin et al. 2024)."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def pipeline(vae: Any, text: Any, unet: Any) -> Any:
    """Return the components as a stock StableDiffusionPipeline."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer(),
        unet=unet,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
