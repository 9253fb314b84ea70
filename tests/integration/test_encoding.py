"""Prompts that enter slots together are encoded together, and an image's bits show nothing of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.denoising.batch import Denoised, ImageFailed, Outcome
from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import TEXT_ENCODERS
from pipelines.denoising.slots import Slots
from pipelines.lora import Lora
from pipelines.protocol import Item
from pipelines.upscale import SecondPass
from pipelines.worker.loader import LoadedModel
from tests.support import tiny
from tests.support.device import DEVICE
from tests.support.model_matrix import ROWS, Row
from tests.support.options import loaded
from tests.support.tiny.text import WORDS
from tests.support.tiny_models import family, model_of_row

BATCH_SIZE = 4
#: Prompts of equally many tokens.
PROMPTS = ("marble warm", "wood cool", "navy red", "red warm")
SLOT_ROWS = [row for row in ROWS if row.slots]


def model_named(name: str) -> LoadedModel:
    return model_of_row(next(row for row in ROWS if row.name == name))


def item(model: LoadedModel, number: int, prompt: str | None = None) -> Item:
    words = PROMPTS[number] if prompt is None else prompt
    return Item(f"image-{number}", 100 + number, words, model.card.wording.negative_prompt, "-")


def four(model: LoadedModel) -> list[Item]:
    return [item(model, number) for number in range(BATCH_SIZE)]


class Run:
    """A batch of four slots, and its outcomes."""

    def __init__(self, model: LoadedModel, items: list[Item], *, apart: bool = False, factor: int = 1) -> None:
        """Make these images; `apart` lets each enter a tick after the one before it."""
        self.images: dict[str, torch.Tensor] = {}
        self.failed: dict[str, Exception] = {}
        second = SecondPass(factor, 0.5, 2) if factor > 1 else None
        settings = CallSettings(64 * factor, 64 * factor, 2, model.card.sampling.guidance, second)
        slots = Slots(model, family(model), settings, BATCH_SIZE, self._watch)
        waiting = list(items)
        while waiting or len(slots):
            for _ in range(min(1 if apart else slots.free, len(waiting))):
                slots.enter(waiting.pop(0))
            slots.tick()

    def _watch(self, outcome: Outcome) -> None:
        match outcome:
            case Denoised(item=made, image=image):
                self.images[made.image_id] = image
            case ImageFailed(item=made, error=error):
                self.failed[made.image_id] = error


Hook = Callable[[torch.Tensor, Any], Any]


@contextmanager
def at_each_call(model: LoadedModel, hook: Hook) -> Iterator[None]:
    """Call `hook` with the tokens and the result of each call of a text encoder, and replace that result by the hook's."""

    def listen(_: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> Any:
        return hook(arguments[0] if arguments else keywords["input_ids"], result)

    encoders = [part for name in TEXT_ENCODERS if (part := getattr(model.pipeline, name, None)) is not None]
    handles = [encoder.register_forward_hook(listen, with_kwargs=True) for encoder in encoders]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize(
    ("name", "calls"),
    # Each pipeline has one encoder or more, which also read a negative prompt if the pipeline guides by it.
    [
        ("SDXL Turbo", 2),
        ("Stable Diffusion 3.5", 4),
        ("FLUX.1", 2),
        ("Z-Image Turbo", 1),
        ("Z-Image", 2),
        ("Qwen-Image", 2),
        ("Krea 2", 2),
    ],
)
def test_prompts_that_enter_together_share_calls(name: str, calls: int) -> None:
    model = model_named(name)
    rows: list[int] = []
    # This run finds out what can be encoded together, and the model keeps that.
    Run(model, [item(model, 0)])
    with at_each_call(model, lambda tokens, _: rows.append(len(tokens))):
        assert Run(model, four(model)).failed == {}
    together = set(model.findings.encodes_together.values())
    assert together == {True} or DEVICE.type != "cpu"
    if together == {True}:
        assert rows == [BATCH_SIZE] * calls


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("row", SLOT_ROWS, ids=lambda row: row.id)
def test_an_image_is_the_same_whoever_enters_with_it(row: Row, dtype: torch.dtype) -> None:
    if row.pipeline == "Kandinsky5T2IPipeline" and dtype == torch.bfloat16:
        pytest.skip("its tiny one computes in float32 alone")
    model = model_of_row(row)
    model.pipeline.to(dtype)
    # The first run finds out what can be encoded together, and the others go by that.
    first, again = (Run(model, four(model)) for _ in range(2))
    apart = Run(model, four(model), apart=True)
    alone = [Run(model, [made]) for made in four(model)]
    assert first.failed == again.failed == apart.failed == {}
    for number, image_id in enumerate(first.images):
        image = alone[number].images[image_id]
        assert all(torch.equal(run.images[image_id], image) for run in (first, again, apart))


def test_prompts_of_other_lengths_share_no_call() -> None:
    """Check that prompts are joined by length: an encoder may compute otherwise for a mask that hides nothing."""
    model = model_named("Z-Image Turbo")
    items = [item(model, 0), item(model, 1, "navy"), item(model, 2), item(model, 3, "red")]
    Run(model, items)
    seen: list[list[int]] = []
    pad = WORDS.index("<pad>")
    with at_each_call(model, lambda tokens, _: seen.append((tokens != pad).sum(1).tolist())):
        Run(model, items)
    assert sorted(len(set(lengths)) for lengths in seen) == [1] * len(seen)


def test_prompts_share_no_call_if_the_device_has_other_bits_at_other_places() -> None:
    model = model_named("SDXL Turbo")
    calls: list[int] = []

    def place_dependent(tokens: torch.Tensor, result: Any) -> Any:
        calls.append(len(tokens))
        scale = 1 + torch.arange(len(tokens), device=tokens.device)[:, None, None] * 2**-10
        return type(result)(**{**result, "hidden_states": tuple(state * scale for state in result.hidden_states)})

    with at_each_call(model, place_dependent):
        alone = [Run(model, [made]).images for made in four(model)]
        calls.clear()
        images = Run(model, four(model)).images
    assert calls == [BATCH_SIZE] * 2 * 4
    assert all(torch.equal(images[f"image-{number}"], alone[number][f"image-{number}"]) for number in range(4))


@pytest.mark.parametrize("known", [True, False], ids=["later", "at first"])
@pytest.mark.parametrize("bad", [0, 2])
def test_a_prompt_that_cannot_be_encoded_fails_its_image_alone(known: bool, bad: int) -> None:
    model = model_named("SDXL")
    alone = {f"image-{number}": Run(model, [item(model, number)]).images for number in range(4)}
    if not known:
        model.findings.encodes_together.clear()

    def refuse(tokens: torch.Tensor, result: Any) -> Any:
        if (tokens == WORDS.index("cool")).any():
            raise ValueError("nothing is cool")
        return result

    items = four(model)
    items[1] = item(model, 1, "navy warm")
    items[bad] = item(model, bad, "wood cool")
    with at_each_call(model, refuse):
        run = Run(model, items)
    assert {name: str(error) for name, error in run.failed.items()} == {f"image-{bad}": "nothing is cool"}
    assert set(run.images) == {f"image-{number}" for number in range(4)} - {f"image-{bad}"}
    for name in {"image-0", "image-2", "image-3"} - {f"image-{bad}"}:
        assert torch.equal(run.images[name], alone[name][name])


def test_memory_that_runs_out_is_not_one_prompt_s_failure() -> None:
    model = model_named("SDXL")
    Run(model, [item(model, 0)])

    def run_out(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with at_each_call(model, run_out), pytest.raises(torch.OutOfMemoryError):
        Run(model, four(model))


def test_a_second_pass_encodes_each_image_as_if_it_were_alone() -> None:
    model = model_named("SDXL")
    alone = Run(model, [item(model, 0)], factor=2).images["image-0"]
    run = Run(model, four(model), factor=2)
    assert run.failed == {}
    assert torch.equal(run.images["image-0"], alone)


def test_a_scale_of_loras_that_a_card_sets_acts_once_on_each_prompt(tmp_path: Path) -> None:
    """Check that the scale acts once: stock pipelines scale an encoder's LoRAs before they call it, and take that back later."""
    file = tiny.save_lora(tiny.unet_pipeline, tmp_path / "lora.safetensors")
    tiny.save(tiny.unet_pipeline(), tmp_path / "model")
    scaled = {"cross_attention_kwargs": {"scale": 0.5}}
    model = loaded(tmp_path / "model", arguments=scaled).with_loras([Lora("grain", str(file), 1.0)])
    alone = Run(model, [item(model, 0)]).images["image-0"]
    assert torch.equal(Run(model, four(model)).images["image-0"], alone)
    unscaled = loaded(tmp_path / "model").with_loras([Lora("grain", str(file), 1.0)])
    assert not torch.equal(Run(unscaled, [item(unscaled, 0)]).images["image-0"], alone)
