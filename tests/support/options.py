"""Tiny models with options on their cards, and the images that they make."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from pipelines.denoising.batch import Batch, Denoised, ImageFailed, Outcome, Watch
from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import family_of
from pipelines.denoising.slots import Slots
from pipelines.denoising.whole_batch import WholeBatch
from pipelines.guidance import ignores_guidance
from pipelines.model_card import ModelCard
from pipelines.model_index import read_model_index
from pipelines.protocol import Item
from pipelines.worker.components import modules_of
from pipelines.worker.loader import LoadedModel, load
from pipelines.worker.memory_options import OptionRefused, denoiser_of, offload
from tests.support import tiny
from tests.support.device import DEVICE

_ATTENTION = "aten::_scaled_dot_product_"
#: The operator that computes attention on every device if `attention = "_native_math"`.
MATH = f"{_ATTENTION}attention_math"
#: The functions of tests.support.tiny that make the models.
MAKERS: dict[str, Callable[[], Any]] = {
    "sdxl": tiny.sdxl_pipeline,
    "flux": tiny.flux_pipeline,
    "z-image": tiny.z_image_pipeline,
    "qwen-image": tiny.qwen_image_pipeline,
}


def save_all(makers: Mapping[str, Callable[[], Any]], base: Path) -> dict[str, Path]:
    """Save a pipeline of each maker below `base`; return its folder by the maker's name."""
    for name, make in makers.items():
        make().save_pretrained(base / name, safe_serialization=True)
    return {name: base / name for name in makers}


def card_of(folder: Path, **options: Any) -> ModelCard:
    guidance = 1.0 if ignores_guidance(folder, read_model_index(folder).pipeline) else 3.0
    values = {"licence": "-", "tiers": ("0.5K",), "steps": 3, "guidance": guidance, "multiple_of": 32, "max_batch": 2}
    return ModelCard.from_flat(**{"name": "tiny", "folder": str(folder), **values, **options})


def loaded(folder: Path, *, traced: bool = False, **options: Any) -> LoadedModel:
    """Return the model on the tests' device, as its card says; in host memory if it is to be offloaded."""
    model = load(card_of(folder, **options), traced=traced)
    if model.card.residence.offload is None:
        model.pipeline.to(DEVICE)
    return model


def images_of(
    model: LoadedModel,
    *prompts: str,
    side: int = 64,
    steps: int = 3,
    slots: bool | None = None,
    leaving_after: int | None = None,
) -> list[torch.Tensor]:
    """Return an image for each prompt, or two of one, with the seeds 1, 2, … The card or `slots` says how they share a batch.

    With `leaving_after`, all of them are cancelled after that many steps.
    """
    prompts = prompts or ("marble warm", "marble warm")
    card = model.card
    settings = CallSettings(side, side, steps, card.sampling.guidance)
    family = family_of(model.pipeline) if (card.takes_slots if slots is None else slots) else None

    def batch_of(watch: Watch) -> Batch:
        if family is None:
            return WholeBatch(model, settings, len(prompts), watch)
        return Slots(model, family, settings, len(prompts), watch)

    items = [Item(str(seed), seed, words, card.wording.negative_prompt, "-") for seed, words in enumerate(prompts, 1)]
    return made_in(batch_of, items, leaving_after)


def made_in(
    batch_of: Callable[[Watch], Batch], items: Sequence[Item], leaving_after: int | None = None
) -> list[torch.Tensor]:
    """Return the images that a batch makes of these items; those that are left after `leaving_after` steps are cancelled."""
    made: dict[str, torch.Tensor] = {}

    def watch(outcome: Outcome) -> None:
        if isinstance(outcome, ImageFailed):
            raise outcome.error
        if isinstance(outcome, Denoised):
            made[outcome.item.image_id] = outcome.image

    batch = batch_of(watch)
    for item in items:
        batch.enter(item)
    ticks = 0
    while len(batch):
        batch.tick()
        ticks += 1
        if ticks == leaving_after:
            batch.clear()
    return [made[item.image_id] for item in items if item.image_id in made]


@contextmanager
def moving_weights(model: LoadedModel) -> Iterator[None]:
    """Set each layer's weights anew before it computes, as offloading does; here they stay in their place."""

    def set_anew(layer: torch.nn.Module, _: Any) -> None:
        for weight in layer.parameters(recurse=False):
            weight.data = torch.empty(0, dtype=weight.dtype, device=weight.device).set_(weight.data)

    layers = [layer for part in modules_of(model.pipeline) for layer in part.modules()]
    hooks = [layer.register_forward_pre_hook(set_anew) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def difference(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Return the largest difference of two values in two lists of images."""
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    """Return whether two lists of images have the same bits."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@contextmanager
def kernels_of_attention(model: LoadedModel) -> Iterator[set[str]]:
    """Yield the names of torch's operators that compute attention in the denoiser, each once it has run."""
    names: set[str] = set()
    running = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])

    def end(*_: Any) -> None:
        running.stop()
        names.update(event.key for event in running.key_averages() if event.key.startswith(_ATTENTION))

    denoiser = denoiser_of(model.pipeline)
    hooks = [denoiser.register_forward_pre_hook(lambda *_: running.start()), denoiser.register_forward_hook(end)]
    try:
        yield names
    finally:
        for hook in hooks:
            hook.remove()


def assert_offloaded(model: LoadedModel) -> None:
    """Fail unless the weights are offloaded as the card says: only then does diffusers refuse the other way."""
    other = "group" if model.card.residence.offload == "model" else "model"
    card = msgspec.structs.replace(model.card, residence=msgspec.structs.replace(model.card.residence, offload=other))
    with pytest.raises(OptionRefused, match="offload"):
        offload(card, model.pipeline, DEVICE)
