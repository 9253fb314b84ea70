"""The loader, which builds a diffusers pipeline in host memory from a model card."""

import hashlib
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import diffusers
import msgspec
import torch
from diffusers import DiffusionPipeline

from pipelines.checks.card import problems_of
from pipelines.checks.files import absent_components
from pipelines.denoising.joining import Findings
from pipelines.denoising.latent_colors import LatentColors
from pipelines.denoising.latent_paint import LatentPaint
from pipelines.hub.cache import cached_folder
from pipelines.lora import AppliedLora, Lora
from pipelines.model_card import ModelCard
from pipelines.model_index import read_model_index
from pipelines.weight_digests import contents
from pipelines.weight_files import BadWeights, files_of, stamp_of
from pipelines.worker.components import load_components
from pipelines.worker.cpu_tuning import tune_decoder
from pipelines.worker.loras import Loras
from pipelines.worker.memory_options import OptionRefused, enable_tiling, make_narrow
from pipelines.worker.single_file import configuration_of, load_from_file
from pipelines.worker.speed_options import speed_up
from pipelines.worker.text_processors import as_diffusers_takes, load_text_processors

log = logging.getLogger(__name__)

#: The number to whose multiples a pipeline rounds sizes, if its components do not show it.
_SIZE_FACTORS = {"QwenImage21Pipeline": 32}
#: Errors that diffusers and transformers raise if a component without weights is missing or not whole.
UNREADABLE = (OSError, ValueError, TypeError, ImportError, AttributeError, LookupError)


class CannotLoad(Exception):
    """A model cannot be used; the message says what to change."""


class TooLarge(CannotLoad):
    """A model does not fit into the device's memory; the message says by how much, and the way out."""


class NoDevice(Exception):
    """The wanted device is not on this box."""


class LoadedModel(msgspec.Struct, frozen=True):
    card: ModelCard
    revision: str
    pipeline: Any
    loras: Loras
    #: They hold only for these weights with the applied LoRAs.
    findings: Findings
    applied: tuple[AppliedLora, ...] = ()
    colors: LatentColors = msgspec.field(default_factory=LatentColors)
    paint: LatentPaint = msgspec.field(default_factory=LatentPaint)

    def with_loras(self, loras: Sequence[Lora]) -> "LoadedModel":
        """Return the model with exactly these LoRAs on. This changes every other LoadedModel of the same pipeline too.

        Raises LoraUnusable, and torch's error if memory runs out.
        """
        findings, applied = self.loras.apply(loras)
        return msgspec.structs.replace(self, findings=findings, applied=applied)

    def restore(self) -> None:
        """Undo what a failed call may leave behind: SDXL decodes in float32 and, if that fails, leaves its VAE in float32."""
        vae: Any = getattr(self.pipeline, "vae", None)
        dtype = getattr(torch, self.card.weights.dtype)
        if vae is not None and getattr(vae.config, "force_upcast", False) and vae.dtype != dtype:
            vae.to(dtype=dtype)


def choose_device(wanted: str, gpus: int) -> torch.device:
    """Return the device to use if torch sees this many GPUs; a GPU always with its index.

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


def load(card: ModelCard, *, traced: bool, unwanted: Event | None = None) -> LoadedModel:
    """Return a card's model in host memory, in the card's dtype; if `traced`, its denoiser calls may be traced.

    Once `unwanted` is set, no further component is read. Raises CannotLoad, components.Unwanted, and torch's error if memory
    runs out.
    """
    folder = folder_of(card)
    file = None if card.weights.file is None else Path(card.weights.file)
    places = (folder,) if file is None else (folder, file)
    try:
        _refuse(card, problems_of(card, folder))
        before = stamp_of(*places)
        index = read_model_index(folder)
        components = (
            load_components(card, folder, index, unwanted)
            if file is None
            else load_from_file(card, file, folder, index, unwanted)
        )
        revision = revision_of(card, folder)
        absent = dict.fromkeys(absent_components(folder, index))
        if absent:
            log.info("%s is used without %s, which its folder lacks", card.name, ", ".join(absent))
        processors = load_text_processors(folder, index)
        pipeline = DiffusionPipeline.from_pretrained(
            folder, use_safetensors=True, **components, **absent, **as_diffusers_takes(processors)
        )
        pipeline.register_modules(**processors)
        if card.weights.scheduler is not None or card.weights.scheduler_options:
            pipeline.scheduler = _scheduler(card, pipeline.scheduler)
        changed = stamp_of(*places) != before
    except (BadWeights, *UNREADABLE) as error:
        raise CannotLoad(f"{card.name} could not be read from {file or folder}: {error}") from error
    if changed:
        # The revision may be that of other bytes than those in memory.
        raise CannotLoad(
            f"{card.name}: files of {file or folder} were written while they were read; load it again later"
        )
    _refuse(card, _problems_of_sampling(card, pipeline))
    pipeline.set_progress_bar_config(disable=True)
    vae: Any = getattr(pipeline, "vae", None)
    if hasattr(vae, "use_slicing"):
        # This decodes one image at a time: batches gain nothing here, and the bits must not depend on the batch size.
        vae.enable_slicing()
    if vae is not None:
        tune_decoder(vae)
    try:
        speed_up(card, pipeline)
        make_narrow(card, pipeline)
        if card.weights.vae_tiling:
            enable_tiling(vae)
    except OptionRefused as error:
        raise CannotLoad(f"{card.name} cannot be used: {error}") from error
    weights = card.weights
    # A trace keeps the weights of its first call, and does not run compiled blocks.
    traced = traced and weights.quantization is None and not weights.layerwise_casting and not weights.compile
    loras = Loras(pipeline, traced=traced, only_full=card.residence.offload is not None or weights.compile)
    findings, _ = loras.apply(())
    return LoadedModel(card, revision, pipeline, loras, findings)


def folder_of(card: ModelCard) -> Path:
    """Return the folder of a model's files, without downloading anything. Raises CannotLoad."""
    weights = card.weights
    if weights.folder is not None:
        return Path(weights.folder)
    if weights.hub is None and weights.file is not None:
        try:
            return configuration_of(Path(weights.file))
        except (BadWeights, *UNREADABLE) as error:
            raise CannotLoad(f"{card.name} cannot be used: {error}") from error
    folder = cached_folder(weights)
    if folder is None:
        raise CannotLoad(f"{card.name} is not on this box yet; download it with: backlot models fetch {card.name}")
    return folder


def _refuse(card: ModelCard, problems: Iterable[str]) -> None:
    """Raise CannotLoad if there are problems."""
    if told := list(problems):
        raise CannotLoad(f"{card.name} cannot be used: {'; '.join(told)}")


def _problems_of_sampling(card: ModelCard, pipeline: Any) -> Iterator[str]:
    """Yield sizes and steps of the card that the pipeline would not keep, which would make `meta` untrue."""
    factor = _size_factor(pipeline)
    multiple = card.limits.multiple_of
    if multiple % factor:
        yield (
            f"multiple_of = {multiple}: {type(pipeline).__name__} makes multiples of {factor} only;"
            f" write multiple_of = {math.lcm(multiple, factor) if math.lcm(multiple, factor) <= 256 else factor}"
        )
    sigmas: Any = getattr(pipeline.config, "sample_sigmas", None)
    if sigmas and len(sigmas) != card.sampling.steps:
        yield f"steps = {card.sampling.steps}: the model's own schedule has {len(sigmas)}; write steps = {len(sigmas)}"


def _size_factor(pipeline: Any) -> int:
    """Return the number of which a pipeline's widths and heights are multiples; it rounds others without a word."""
    if type(pipeline).__name__ in _SIZE_FACTORS:
        return _SIZE_FACTORS[type(pipeline).__name__]
    processor: Any = getattr(pipeline, "image_processor", None)
    # The processor's factor includes the packing of latents, but not the patches into which the denoiser cuts them.
    factor: int = getattr(getattr(processor, "config", None), "vae_scale_factor", 1)
    denoiser: Any = getattr(pipeline, "transformer", None)
    patch = getattr(getattr(denoiser, "config", None), "patch_size", None)
    if isinstance(patch, list | tuple):
        # The patches of a film have frames, height and width.
        patch = patch[-1]
    if isinstance(patch, int):
        factor = math.lcm(factor, getattr(pipeline, "vae_scale_factor", factor) * patch)
    return factor


def _scheduler(card: ModelCard, present: Any) -> Any:
    """Return the card's scheduler, or the present one with the card's options."""
    name = card.weights.scheduler
    kind: Any = type(present) if name is None else getattr(diffusers, name)
    return kind.from_config(present.config, **card.weights.scheduler_options)


def revision_of(card: ModelCard, folder: Path) -> str:
    """Return the revision of the weights in a folder and in the card's file, which tells them from others.

    For a hub id this is the commit of its files. For a folder or a file it is 16 hex digits of the SHA-256 over the files'
    names, sizes and contents; of a file above 64 MiB only 33 MiB spread over it count.

    Raises OSError.
    """
    file = card.weights.file
    if card.weights.folder is None and file is None:
        # The hub's cache keeps the files of a commit in a folder of its name.
        return folder.name
    digest = hashlib.sha256()
    for path in files_of(folder):
        _add_to(digest, path, path.relative_to(folder).as_posix())
    if file is not None:
        _add_to(digest, Path(file), Path(file).name)
    return digest.hexdigest()[:16]


def _add_to(digest: Any, path: Path, name: str) -> None:
    digest.update(f"{name}\0{path.stat().st_size}\0".encode(errors="surrogateescape"))
    for block in contents(path):
        digest.update(block)
