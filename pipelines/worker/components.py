"""The components of a pipeline that have weights, read one by one, so that no weight is missing or left over unnoticed.

If a file lacks a weight, `from_pretrained` of diffusers and of transformers fills it with random numbers, and only warns.
"""

import logging
import re
from pathlib import Path
from threading import Event
from typing import Any

import diffusers
import torch
import transformers

from pipelines.model_card import ModelCard
from pipelines.model_index import ModelIndex
from pipelines.weight_files import BadWeights, WeightFiles, weight_files
from pipelines.worker.torch_errors import is_out_of_memory

log = logging.getLogger(__name__)

#: Keys of files that a class may leave unused: buffers that it computes anew, and heads for other tasks.
_HARMLESS = re.compile(
    r"(^|\.)(position_ids|inv_freq|num_batches_tracked)$|^(lm_head|text_projection|logit_scale|vision_model|visual_projection)(\.|$)"
)
#: Bytes of the widest register that a kernel of a CPU loads at once.
_ALIGNMENT = 64
#: How many keys a message names.
_NAMED = 3


class Unwanted(Exception):
    """The model that is being read is no longer wanted."""


def load_components(card: ModelCard, folder: Path, index: ModelIndex, unwanted: Event | None = None) -> dict[str, Any]:
    """Return the components of a folder that have weights, by name, in host memory and in the card's dtype.

    Raises BadWeights if the files of a component lack weights, or hold weights of something else, and Unwanted before the
    next component once `unwanted` is set.
    """
    found: dict[str, Any] = {}
    for name, named in index.components.items():
        refuse_unwanted(unwanted)
        kind = class_of(*named)
        # diffusers itself reads a component without weights, or one whose files are beside model_index.json.
        if kind is not None and (folder / name).is_dir():
            found[name] = load_component(kind, folder / name, card)
    return found


def refuse_unwanted(unwanted: Event | None) -> None:
    """Raise Unwanted if this event is set."""
    if unwanted is not None and unwanted.is_set():
        raise Unwanted("nobody wants the model any more")


def modules_of(pipeline: Any) -> list[torch.nn.Module]:
    """Return the components of a pipeline that have weights."""
    return [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]


def class_of(library: str, name: str) -> Any:
    """Return a class that model_index.json names; None if it has no weights."""
    modules = {"diffusers": diffusers, "transformers": transformers}
    kind = getattr(modules.get(library) or getattr(diffusers.pipelines, library, None), name, None)
    if isinstance(kind, type) and issubclass(kind, diffusers.ModelMixin | transformers.PreTrainedModel):
        return kind
    return None


def load_component(kind: Any, folder: Path, card: ModelCard) -> torch.nn.Module:
    """Return one component from its own folder, as `load_components` does."""
    files = weight_files(folder, card.weights.variant, pickle=card.weights.pickle)
    dtype = "dtype" if issubclass(kind, transformers.PreTrainedModel) else "torch_dtype"
    try:
        module, told = kind.from_pretrained(
            folder,
            **{dtype: getattr(torch, card.weights.dtype)},
            # transformers would write a variant of None into the file's name.
            **({"variant": files.variant} if files.variant else {}),
            # Pickles can run code, so they are read only if the card says so.
            use_safetensors=not files.pickled,
            low_cpu_mem_usage=True,
            output_loading_info=True,
        )
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise BadWeights(f"{folder.name} cannot be read ({type(error).__name__}: {error})") from error
    # A tensor is still empty here if a shard lacks a key that its index promises.
    empty = {name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta}
    _check(folder.name, files, set(told["missing_keys"]) | empty, set(told["unexpected_keys"]))
    _copy_from_files(module)
    return module


def _copy_from_files(module: torch.nn.Module) -> None:
    """Copy a module's weights into memory of its own, each as far from a multiple of _ALIGNMENT as it was in its file.

    Mapped weights would change, or end the process, as soon as somebody writes to their files. The distance decides which way
    a kernel of a CPU computes, and so the last bits of images. See docs/decisions/weights.md.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if hasattr(tensor, "__tensor_flatten__"):
            # A quantized tensor is made of several others.
            for name in tensor.__tensor_flatten__()[0]:
                setattr(tensor, name, _copied(getattr(tensor, name)))
        else:
            tensor.data = _copied(tensor.data)


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_contiguous():
        # Files hold only contiguous tensors, so this one was computed and is not mapped.
        return tensor
    memory = torch.empty(tensor.nbytes + _ALIGNMENT, dtype=torch.uint8)
    start = (tensor.data_ptr() - memory.data_ptr()) % _ALIGNMENT
    own = memory[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
    return own.copy_(tensor)


def _check(name: str, files: WeightFiles, missing: set[str], unexpected: set[str]) -> None:
    """Raise BadWeights if keys are missing or left over; log harmless ones. A file with other prefixes has both."""
    harmless = {key for key in unexpected if _HARMLESS.search(key)}
    left_over = unexpected - harmless
    if harmless:
        log.info("%s: %s of %s are not used, and need not be", name, _listed(harmless), _names(files, harmless))
    told = []
    if missing:
        told.append(f"{_names(files, missing)} lacks {_listed(missing)}")
    if left_over:
        told.append(f"{_names(files, left_over)} holds {_listed(left_over)}, which {name} does not have")
    if told:
        log.error("%s: missing: %s; left over: %s", name, sorted(missing), sorted(left_over))
        raise BadWeights(f"{name}: {'; '.join(told)}")


def _names(files: WeightFiles, keys: set[str]) -> str:
    return ", ".join(sorted({files.holding(key) for key in keys})[:_NAMED])


def _listed(keys: set[str]) -> str:
    """Return a list such as `a, b, c and 7 more`."""
    first = sorted(keys)[:_NAMED]
    return ", ".join(first) + (f" and {len(keys) - len(first)} more" if len(keys) > len(first) else "")
