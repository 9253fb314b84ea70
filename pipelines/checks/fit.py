"""Checks of a card's `file`, by its header, against the configuration of the folder that the card names beside it.

Without them a file of another family would be refused only when it is loaded. A file whose denoiser has more layers than the
configuration would even make images, and wrong ones: diffusers leaves out the further layers, and only warns.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.diffusers_classes import models_in_one_file, parameters
from pipelines.model_card import ModelCard
from pipelines.model_index import ModelIndex, read_if_there
from pipelines.weight_files import BadWeights, TensorHeader, read_tensors

_TEXT_IN = re.compile(r"(^|\.)(txt_in|context_embedder)\.weight$")
_CAPTION_IN = re.compile(r"(^|\.)(cap_embedder|caption_embedder)\.1\.weight$")
_CROSS_ATTENTION = re.compile(r"\.attn2\.to_k\.weight$")
#: By class of denoiser, the layer that reads the prompt, which every file of the class has, and the configuration's key for
#: how many numbers of a token it reads.
_PROMPT_LAYERS = {
    "ChromaTransformer2DModel": (_TEXT_IN, "joint_attention_dim"),
    "Flux2Transformer2DModel": (_TEXT_IN, "joint_attention_dim"),
    "FluxTransformer2DModel": (_TEXT_IN, "joint_attention_dim"),
    "Lumina2Transformer2DModel": (_CAPTION_IN, "cap_feat_dim"),
    "QwenImageTransformer2DModel": (_TEXT_IN, "joint_attention_dim"),
    "SD3Transformer2DModel": (_TEXT_IN, "joint_attention_dim"),
    "UNet2DConditionModel": (_CROSS_ATTENTION, "cross_attention_dim"),
    "ZImageTransformer2DModel": (_CAPTION_IN, "cap_feat_dim"),
}
#: Layers that tell apart denoisers that read prompts alike, each with its family, and the classes that have it.
_OWN_LAYERS = (
    (
        re.compile(r"(^|\.)(double_blocks|single_transformer_blocks)\.0\."),
        "FLUX or Chroma",
        ("ChromaTransformer2DModel", "Flux2Transformer2DModel", "FluxTransformer2DModel"),
    ),
    (re.compile(r"(^|\.)distilled_guidance_layer\."), "Chroma", ("ChromaTransformer2DModel",)),
    (re.compile(r"(^|\.)joint_blocks\.0\."), "Stable Diffusion 3", ("SD3Transformer2DModel",)),
)
#: The layer that reads the guidance of a distilled denoiser. The configurations of these classes say whether there is one.
_GUIDANCE_IN = re.compile(r"(^|\.)guidance_(in|embedder)\.")
_TOLD_GUIDANCE = ("FluxTransformer2DModel", "Flux2Transformer2DModel")
_WAY_OUT = "name a model of the file's kind as folder or hub beside it (backlot models add takes --config)"


def problems_of_fit(card: ModelCard, folder: Path, index: ModelIndex) -> Iterator[str]:
    """Yield why a card's file does not fit the folder beside it, or which options its scheduler needs.

    Raises OSError or ValueError if the folder cannot be examined.
    """
    key = f"file = {card.weights.file!r}"
    kind = None if index.denoiser is None else index.components[index.denoiser][1]
    if kind is not None and kind not in models_in_one_file():
        yield f"{key}: diffusers reads a {kind} from folders alone; remove the key, and name a whole folder or hub id"
        return
    try:
        tensors = read_tensors(Path(card.weights.file or ""))
    except (BadWeights, OSError):
        # checks.single_file and weight_files tell what is wrong with the file by itself.
        return
    if not tensors:
        # Pickled files have no header.
        return
    yield from (f"{key}: {problem}; {_WAY_OUT}" for problem in _misfits(tensors, folder, index))
    options = options_of(tensors, folder, card.weights.scheduler or index.scheduler)
    if lacking := {name: value for name, value in options.items() if name not in card.weights.scheduler_options}:
        told = ", ".join(f"{name} = {json.dumps(value)}" for name, value in lacking.items())
        yield f"{key}: it says that its denoiser predicts v, and its scheduler does not; add {told} to scheduler_options"


def options_of(tensors: Mapping[str, TensorHeader], folder: Path, scheduler: str | None) -> dict[str, Any]:
    """Return the scheduler_options that a file with these keys needs and its folder's configuration does not have.

    Checkpoints of SDXL that predict v say so by keys without weights. Raises OSError or ValueError if the folder cannot be
    examined.
    """
    own = read_if_there(folder / "scheduler" / "scheduler_config.json")
    taken = parameters("schedulers", scheduler or "", "__init__") or ()
    wanted: dict[str, Any] = {}
    if "v_pred" in tensors:
        wanted["prediction_type"] = "v_prediction"
        if "ztsnr" in tensors:
            wanted["rescale_betas_zero_snr"] = True
    return {name: value for name, value in wanted.items() if name in taken and own.get(name) != value}


def _misfits(tensors: Mapping[str, TensorHeader], folder: Path, index: ModelIndex) -> Iterator[str]:
    """Yield how the denoiser of a file differs from the one that a folder configures."""
    if index.denoiser is None:
        return
    kind, config = index.components[index.denoiser][1], read_if_there(folder / index.denoiser / "config.json")
    if not config or kind not in _PROMPT_LAYERS:
        return
    for layer, family, kinds in _OWN_LAYERS:
        if kind not in kinds and any(map(layer.search, tensors)):
            yield f"it holds a denoiser of {family}, and the configuration beside it is that of a {kind}"
            return
    layer, key = _PROMPT_LAYERS[kind]
    widths = {tensor.shape[-1] for name, tensor in tensors.items() if tensor.shape and layer.search(name)}
    if isinstance(config.get(key), int) and config[key] not in widths:
        read = f"reads {min(widths)}" if widths else "has no layer that does"
        yield f"the {kind} beside it reads {config[key]} numbers of each token of a prompt, and the one in it {read}"
        return
    told, wanted = any(map(_GUIDANCE_IN.search, tensors)), config.get("guidance_embeds")
    if kind in _TOLD_GUIDANCE and isinstance(wanted, bool) and told is not wanted:
        yield (
            "its denoiser is told its guidance, and the configuration beside it is of one that is not"
            if told
            else "its denoiser is not told its guidance, and the configuration beside it is of one that is"
        )
