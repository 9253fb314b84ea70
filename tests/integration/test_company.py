"""An image depends neither on what ran before it nor on its neighbours."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchLCMScheduler,
    FluxKontextPipeline,
    StableDiffusionXLPAGPipeline,
)

from pipelines.denoising.batch import Batch, Watch
from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import SHOW_NEIGHBOURS, family_of
from pipelines.denoising.slots import Slots
from pipelines.denoising.whole_batch import WholeBatch
from pipelines.protocol import Item
from pipelines.worker.loader import LoadedModel
from tests.support import tiny
from tests.support.company import assert_same_but_for_its_place, assert_same_in_company
from tests.support.model_matrix import ROWS, Row
from tests.support.options import made_in
from tests.support.tiny_models import STEPS, Maker, model_of, model_of_row

Open = Callable[[Watch], Batch]
LONG = "wood cool red navy bright soft marble warm wood cool red"


def settings_of(model: LoadedModel) -> CallSettings:
    return CallSettings(64, 64, STEPS, model.card.sampling.guidance)


def both_ways(model: LoadedModel) -> list[Open]:
    """Return what opens batches of two places of a model: as a whole, and with slots if they know it."""
    family, settings = family_of(model.pipeline), settings_of(model)
    ways: list[Open] = [lambda watch: WholeBatch(model, settings, 2, watch)]
    if family is not None:
        ways.append(lambda watch: Slots(model, family, settings, 2, watch))
    return ways


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_neighbour_s_longer_prompt_changes_last_bits_at_most(row: Row) -> None:
    model = model_of_row(row)
    for number, open_batch in enumerate(both_ways(model)):
        if number == 0 and row.pipeline in SHOW_NEIGHBOURS:
            # The server refuses a card that runs it so: tests/unit/test_option_check.py.
            continue
        beside_equals = made_in(open_batch, [item(model, 7), item(model, 8)])
        beside_a_longer_one = made_in(open_batch, [item(model, 7), item(model, 8, LONG)])
        assert_same_in_company(open_batch(lambda _: None), beside_a_longer_one[0], beside_equals[0])
        assert not torch.equal(beside_a_longer_one[1], beside_equals[1])


def item(model: LoadedModel, seed: int, prompt: str = "marble warm") -> Item:
    return Item(str(seed), seed, prompt, model.card.wording.negative_prompt, "-")


@pytest.mark.parametrize(
    ("name", "scheduler", "options", "arguments"),
    [
        ("HiDream", FlowMatchLCMScheduler, {}, {}),
        ("FLUX.1", FlowMatchEulerDiscreteScheduler, {"stochastic_sampling": True}, {}),
        ("Z-Image", FlowMatchLCMScheduler, {}, {}),
        ("SDXL", DDIMScheduler, {}, {"eta": 0.5}),
    ],
    ids=["hidream", "flux", "z-image", "sdxl"],
)
def test_noise_of_each_step_comes_from_the_seed(
    name: str, scheduler: Any, options: dict[str, Any], arguments: dict[str, Any]
) -> None:
    row = next(row for row in ROWS if row.name == name)
    model = model_of_row(msgspec.structs.replace(row, card={**row.card, "arguments": arguments}), scheduler)
    model.pipeline.scheduler.register_to_config(**options)
    for open_batch in both_ways(model):
        alone = made_in(open_batch, [item(model, 7)])[0]
        before = torch.get_rng_state()
        assert torch.equal(made_in(open_batch, [item(model, 7)])[0], alone)
        assert torch.equal(torch.get_rng_state(), before)
        batch = open_batch(lambda _: None)
        in_company = made_in(open_batch, [item(model, 7), item(model, 8)])
        assert_same_in_company(batch, in_company[0], alone)
        assert not torch.equal(in_company[1], alone)
        assert "step" not in vars(model.pipeline.scheduler)


def perturbed() -> Any:
    """Return a pipeline that gives its UNet other attention processors while it runs, and takes them back at its end."""
    return StableDiffusionXLPAGPipeline(**tiny.sdxl_pipeline().components, pag_applied_layers=["mid"])


def test_a_pipeline_that_nobody_tried_in_slots_runs_as_whole_batches() -> None:
    model = model_of(perturbed)
    assert family_of(model.pipeline) is None
    processors = dict(model.pipeline.unet.attn_processors)
    (open_batch,) = both_ways(model)
    alone = made_in(open_batch, [item(model, 7)])[0]
    assert not torch.equal(alone, made_in(both_ways(model_of(tiny.sdxl_pipeline))[0], [item(model, 7)])[0])
    in_company = made_in(open_batch, [item(model, 7), item(model, 8, "wood cool")])
    assert_same_but_for_its_place(in_company[0], alone)
    assert model.pipeline.unet.attn_processors == processors
    assert made_in(open_batch, [item(model, 8)], leaving_after=1) == []
    assert torch.equal(made_in(open_batch, [item(model, 7)])[0], alone)


@pytest.mark.parametrize("make", [tiny.ernie_image_pipeline, tiny.ideogram4_pipeline])
def test_a_call_takes_the_prompt_and_the_guidance_that_it_is_given(make: Maker) -> None:
    """Check ERNIE-Image, which would write another prompt, by chance, and Ideogram 4, whose own schedule refuses guidance."""
    model = model_of(make, max_batch=1)
    (open_batch,) = both_ways(model)
    alone = made_in(open_batch, [item(model, 7)])[0]
    assert torch.equal(made_in(open_batch, [item(model, 7)])[0], alone)
    assert not torch.equal(made_in(open_batch, [item(model, 7, "wood cool")])[0], alone)
    (stronger,) = both_ways(model_of(make, max_batch=1, guidance=6.0))
    assert not torch.equal(made_in(stronger, [item(model, 7)])[0], alone)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (32, 96)])
def test_a_pipeline_that_would_choose_its_number_of_pixels_makes_the_size_it_is_given(width: int, height: int) -> None:
    model = model_of(lambda: FluxKontextPipeline(**tiny.flux_pipeline().components))
    settings = CallSettings(width, height, STEPS, model.card.sampling.guidance)
    (picture,) = made_in(lambda watch: WholeBatch(model, settings, 1, watch), [item(model, 7)])
    assert picture.shape == (3, height, width)
