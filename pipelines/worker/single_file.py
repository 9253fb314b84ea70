"""Checkpoints in one file: a whole model, as people share Stable Diffusion, or a denoiser alone, as they share GGUF.

diffusers converts their keys. Their configuration, their tokenizers and the components that they lack come from a folder of
the same family.
"""

from functools import partial
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from diffusers.loaders import single_file_utils
from huggingface_hub import try_to_load_from_cache
from safetensors import safe_open

from pipelines.diffusers_classes import DENOISERS
from pipelines.model_card import ModelCard
from pipelines.model_index import ModelIndex
from pipelines.weight_files import BadWeights
from pipelines.worker.components import class_of, load_component, refuse_unwanted
from pipelines.worker.torch_errors import is_out_of_memory

#: Beginnings of the keys of a VAE in checkpoints that hold one.
_DECODER = ("first_stage_model.", "vae.")


def configuration_of(file: Path) -> Path:
    """Return the folder in the hub's cache with the configuration that diffusers finds by a file's keys.

    Raises BadWeights if it is not there.
    """
    if file.suffix != ".safetensors":
        raise BadWeights(f"{file.name} does not say what it is; write the folder of a model of its kind beside file")
    with safe_open(file, "pt") as opened:
        shapes = {key: SimpleNamespace(shape=tuple(opened.get_slice(key).get_shape())) for key in opened.keys()}  # noqa: SIM118
    hub = single_file_utils.fetch_diffusers_config(shapes)["pretrained_model_name_or_path"]
    found = try_to_load_from_cache(hub, "model_index.json")
    if not isinstance(found, str):
        raise BadWeights(
            f"the configuration of {file.name} seems to be that of {hub}, which is not on this box; write beside file"
            f" folder = a diffusers folder of its kind, or hub = {hub!r} and run backlot models fetch"
        )
    return Path(found).parent


def load_from_file(
    card: ModelCard, file: Path, folder: Path, index: ModelIndex, unwanted: Event | None = None
) -> dict[str, Any]:
    """Return the components that have weights, by name: from the file if it holds them, and otherwise from the folder.

    Raises BadWeights if a component does not get all of its weights, and Unwanted as load_components does.
    """
    dtype = getattr(torch, card.weights.dtype)
    try:
        # Mapped weights would change with the file.
        checkpoint = single_file_utils.load_single_file_checkpoint(str(file), disable_mmap=True)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise BadWeights(f"{file.name} cannot be read ({type(error).__name__}: {error})") from error
    found: dict[str, Any] = {}
    for name, named in index.components.items():
        refuse_unwanted(unwanted)
        kind = class_of(*named)
        if kind is None:
            continue
        read = _reader(name, kind, checkpoint)
        if read is None:
            found[name] = load_component(kind, folder / name, card)
            continue
        options = {"torch_dtype": dtype, "config": str(folder), "subfolder": name, "local_files_only": True}
        if file.suffix == ".gguf":
            options["quantization_config"] = diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
        try:
            module = read(checkpoint, **options)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            if isinstance(error, NotImplementedError) and "meta tensor" in str(error):
                # A weight that the file lacks stays without memory, and cannot be cast to the card's dtype.
                raise BadWeights(
                    f"{file.name} lacks weights of {name}; is it whole, and of the folder's kind?"
                ) from error
            raise BadWeights(f"{name} cannot be read from {file.name} ({type(error).__name__}: {error})") from error
        missing = sorted(key for key, tensor in module.named_parameters() if tensor.is_meta)
        if missing:
            raise BadWeights(
                f"{file.name} lacks {len(missing)} weights of {name}, such as {missing[0]}; is it of its family?"
            )
        found[name] = module
    return found


def _reader(name: str, kind: Any, checkpoint: dict[str, Any]) -> Any:
    """Return a function that reads a component from a checkpoint; None if the checkpoint does not hold it."""
    if name in DENOISERS or (name == "vae" and any(key.startswith(_DECODER) for key in checkpoint)):
        return kind.from_single_file
    if single_file_utils.is_clip_model_in_single_file(kind, checkpoint):
        return partial(single_file_utils.create_diffusers_clip_model_from_ldm, kind)
    if kind.__name__ == "T5EncoderModel" and single_file_utils.is_t5_in_single_file(checkpoint):
        return partial(single_file_utils.create_diffusers_t5_model_from_checkpoint, kind)
    return None
