"""From a model card to a diffusers pipeline on the device."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import diffusers
import msgspec
import torch
from diffusers import DiffusionPipeline

from pipelines.denoising.joining import Findings
from pipelines.denoising.traced_calls import TracedCalls
from pipelines.model_card import ModelCard
from pipelines.worker.cpu_tuning import tune_decoder

log = logging.getLogger(__name__)

#: Files up to this size are hashed whole; of larger ones, evenly spaced blocks from one end to the other.
_WHOLE = 64 * 2**20
_BLOCKS = 32
_BLOCK = 2**20


#: What diffusers raises if a model is not there, or not whole.
_UNREADABLE = (OSError, ValueError, ImportError, AttributeError, KeyError)


class CannotLoad(Exception):
    """A model cannot be used; the message says what to change."""


class NoDevice(Exception):
    """The device asked for is not there."""


class LoadedModel(msgspec.Struct, frozen=True):
    card: ModelCard
    revision: str
    pipeline: Any
    #: They hold for these weights only: other weights need another LoadedModel.
    findings: Findings

    def restore(self) -> None:
        """Undo what a failed call leaves behind: SDXL decodes in float32 and, if that fails, leaves its VAE so for ever."""
        vae: Any = getattr(self.pipeline, "vae", None)
        dtype = getattr(torch, self.card.weights.dtype)
        if vae is not None and getattr(vae.config, "force_upcast", False) and vae.dtype != dtype:
            vae.to(dtype=dtype)


def choose_device(wanted: str, gpus: int) -> torch.device:
    """Return the device to use on a box where torch sees this many GPUs; a GPU always has its index.

    `wanted` is `auto` (the first GPU, or the CPU if there is none), `cpu`, `cuda` or `cuda:N`. Raises NoDevice.
    """
    if wanted == "auto":
        wanted = "cuda" if gpus else "cpu"
    device = torch.device(wanted)
    if device.type != "cuda":
        return device
    index = device.index or 0
    if index >= gpus:
        raise NoDevice(
            f"the device {wanted} is a GPU, and torch {torch.__version__} sees {gpus} of them;"
            " see to its driver, or name other devices in BACKLOT_DEVICES"
        )
    return torch.device("cuda", index)


def fetch(card: ModelCard) -> Path:
    """Return the folder of the model's files; those of a hub id are downloaded first if need be. Raises CannotLoad."""
    if card.weights.folder is not None:
        return Path(card.weights.folder)
    source = _source(card)
    try:
        folder = DiffusionPipeline.download(
            source, revision=card.weights.revision, variant=card.weights.variant, use_safetensors=True
        )
    except _UNREADABLE as error:
        raise CannotLoad(f"{card.name} could not be fetched from {source!r}: {error}") from error
    return Path(folder)


def load(card: ModelCard, *, traced: bool) -> LoadedModel:
    """Read the card's weights in its dtype into host memory; if `traced`, its denoiser calls may be traced.

    Raises CannotLoad; errors of memory pass through.
    """
    source = _source(card)
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            source,
            revision=card.weights.revision,
            variant=card.weights.variant,
            dtype=getattr(torch, card.weights.dtype),
            # Weights as pickles can run code.
            use_safetensors=True,
        )
    except _UNREADABLE as error:
        raise CannotLoad(f"{card.name} could not be read from {source!r}: {error}") from error
    if card.weights.scheduler is not None:
        pipeline.scheduler = _scheduler(card, pipeline.scheduler)
    elif card.weights.scheduler_options:
        pipeline.scheduler = type(pipeline.scheduler).from_config(
            pipeline.scheduler.config, **card.weights.scheduler_options
        )
    pipeline.set_progress_bar_config(disable=True)
    vae: Any = getattr(pipeline, "vae", None)
    if hasattr(vae, "use_slicing"):
        # Decode one image at a time: batches gain nothing here, and the bits must not depend on their size.
        vae.enable_slicing()
    if vae is not None:
        tune_decoder(vae)
    return LoadedModel(card, revision_of(card), pipeline, Findings(TracedCalls() if traced else None))


def _source(card: ModelCard) -> str:
    source = card.weights.folder or card.weights.hub
    if source is None:
        raise CannotLoad(f"the card of {card.name} names neither folder nor hub")
    return source


def _scheduler(card: ModelCard, present: Any) -> Any:
    kind = getattr(diffusers, card.weights.scheduler or "", None)
    if kind is None or not hasattr(kind, "from_config"):
        raise CannotLoad(
            f"scheduler = {card.weights.scheduler!r} of {card.name} is not a scheduler of diffusers {diffusers.__version__}"
        )
    return kind.from_config(present.config, **card.weights.scheduler_options)


def revision_of(card: ModelCard) -> str:
    """Return what tells one set of weights from another.

    For a hub id this is its commit if that is known, else the revision as the card writes it. For a folder it is 16 hex
    digits of the SHA-256 over its files' names, sizes and contents; of a file above 64 MiB only 33 MiB spread over it count.
    """
    if card.weights.folder is None:
        return _hub_commit(card.weights.hub or "", card.weights.revision) or card.weights.revision or "main"
    folder = Path(card.weights.folder)
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= _WHOLE:
                digest.update(file.read())
                continue
            for block in range(_BLOCKS + 1):
                file.seek(block * (size - _BLOCK) // _BLOCKS)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:16]


def _hub_commit(hub: str, revision: str | None) -> str | None:
    """Return the commit that a hub revision stood for when it was loaded: the name of its snapshot in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub, "model_index.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else None
