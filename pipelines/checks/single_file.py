"""Checks of a card's `file` by its name and keys: it may hold something else than a model.

People share LoRAs, VAEs and text encoders in files of the same kind. If a card also names the folder of a whole model, the
mistake would show only when the denoiser is read. A file with scales that diffusers does not read would even make images, of
noise.
"""

import re
from pathlib import Path

from pipelines.weight_files import read_tensors

#: Patterns of keys that betray what a file is, each with what to tell of it.
_OTHERS = {
    r"lora[_.]|\.(lokr_|hada_w|oft_blocks)": "is a LoRA, not a model; give it a table [loras.NAME] instead",
    r"^control_model\.|^controlnet_|^input_hint_block\.": (
        "is a ControlNet, which guides a model by a picture; name the model itself"
    ),
    r"^(image_proj|ip_adapter)\.": "is an IP adapter, which guides a model by a picture; name the model itself",
    r"^(encoder|decoder)\.(conv_in|conv1)\.": "is a VAE alone; name a whole model, or a denoiser",
    r"^(text_model|encoder\.block\.0|model\.(language_model\.)?(layers\.0|embed_tokens)|token_embd)\.|^shared\.weight$": (
        "is a text encoder alone; name a whole model, or a denoiser"
    ),
    r"^(emb_params|clip_l|clip_g)$": "is an embedding, words for prompts; name a model",
    r"^scaled_fp8$|\.(scale_weight|weight_scale|comfy_quant|qweight|wscales|absmax)$|\.quant_state\.": (
        "is quantized with scales of its own, which diffusers does not read from one file; use one of float16, bfloat16 or"
        " plain float8, or a GGUF"
    ),
}
#: The first layer of Stable Diffusion and of SDXL, and how many channels it takes in a text-to-image model.
_FIRST_LAYER = re.compile(r"(^|\.)input_blocks\.0\.0\.weight$")
_CHANNELS = 4
_SHARD = re.compile(r"-\d{5}-of-(\d{5})$")


def why_no_checkpoint(file: Path) -> str | None:
    """Return why a file of weights cannot be a card's `file`, and the way out; None if nothing speaks against it.

    Raises BadWeights and OSError.
    """
    if (shard := _SHARD.search(file.stem)) is not None and int(shard[1]) > 1:
        return f"{file.name} is one of {int(shard[1])} shards; name the folder of the whole model"
    tensors = read_tensors(file)
    for pattern, told in _OTHERS.items():
        if any(re.search(pattern, key) for key in tensors):
            return f"{file.name} {told}"
    first = next((tensor.shape for key, tensor in tensors.items() if _FIRST_LAYER.search(key)), None)
    if first is not None and len(first) == 4 and first[1] != _CHANNELS:
        return (
            f"{file.name} takes {first[1]} channels instead of {_CHANNELS}, as models do that change a picture or fill it in;"
            " backgrounds need a text-to-image model"
        )
    if any(key.startswith("conditioner.embedders.0.model.") for key in tensors):
        return f"{file.name} is a refiner of SDXL, which finishes another model's pictures; name the base model"
    return None
