"""Guidance only within an interval of noise: which steps are guided, and what the others become."""

from itertools import count
from typing import Any

import msgspec
import pytest
import torch
from diffusers import HeunDiscreteScheduler, KDPM2DiscreteScheduler, PNDMScheduler

from pipelines.denoising.batch import Denoised, ImageFailed, Outcome
from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import guides_in_one_call
from pipelines.denoising.guidance_interval import partly_guided
from pipelines.denoising.joining import Findings
from pipelines.denoising.slots import Slots
from pipelines.model_card import Interval
from pipelines.protocol import Item
from pipelines.upscale import SecondPass
from pipelines.worker.loader import LoadedModel
from tests.support.model_matrix import ROWS, Row
from tests.support.tiny_models import family, item, model_of_row

STEPS = 6
SETTINGS = CallSettings(64, 64, STEPS, 3.0)
#: Intervals that hold the noise of every step, of some steps in the middle, and of none.
ALL, SOME, NONE = (0.0, 1.0), (0.4, 0.9), (0.0, 1e-6)
GUIDED = [row for row in ROWS if row.guidance == "true" and guides_in_one_call(row.pipeline)]


def model_with(row: Row, interval: Interval | None, scheduler: Any = None) -> LoadedModel:
    model = model_of_row(row, scheduler)
    sampling = msgspec.structs.replace(model.card.sampling, guidance_interval=interval)
    return msgspec.structs.replace(model, card=msgspec.structs.replace(model.card, sampling=sampling))


class Run:
    """Images of a model in two slots. Images enter at steps that are multiples of `every`."""

    def __init__(self, model: LoadedModel, *items: Item, settings: CallSettings = SETTINGS, every: int = 1) -> None:
        self.images: dict[str, torch.Tensor] = {}
        #: The rows of each denoiser call.
        self.rows: list[int] = []
        known, waiting = family(model), list(items)
        self.slots = Slots(model, known, settings, 2, self._watch)
        denoiser = getattr(model.pipeline, known.attribute)
        hook = denoiser.register_forward_hook(lambda _, given, result: self.rows.append(len(result[0])))
        for step in count():
            if not waiting and not len(self.slots):
                break
            if waiting and self.slots.free and step % every == 0:
                self.slots.enter(waiting.pop(0))
            self.slots.tick()
        hook.remove()

    def _watch(self, outcome: Outcome) -> None:
        match outcome:
            case Denoised(item=made, image=image):
                self.images[made.image_id] = image
            case ImageFailed(error=error):
                raise error


def test_every_family_that_guides_in_one_call_is_tried() -> None:
    assert [row.name for row in GUIDED] == ["Stable Diffusion 1.5", "SDXL", "Stable Diffusion 3.5", "Sana", "PixArt-Σ"]


@pytest.mark.parametrize("row", GUIDED, ids=lambda row: row.id)
def test_guidance_acts_inside_the_interval_alone(row: Row) -> None:
    guided = Run(model_with(row, None), item(0)).images["image-0"]
    unguided = Run(model_with(row, None), item(0), settings=msgspec.structs.replace(SETTINGS, guidance=1.0)).images[
        "image-0"
    ]
    assert not torch.equal(guided, unguided)
    assert torch.equal(Run(model_with(row, ALL), item(0)).images["image-0"], guided)
    assert torch.equal(Run(model_with(row, NONE), item(0)).images["image-0"], unguided)

    some = Run(model_with(row, SOME), item(0))
    assert not torch.equal(some.images["image-0"], guided)
    assert not torch.equal(some.images["image-0"], unguided)
    # Both slots are filled, each with one row or two. The most noise, and the least, are outside.
    assert (some.rows[0], some.rows[-1], max(some.rows)) == (2, 2, 4)
    assert some.rows == sorted(some.rows[: some.rows.index(4)]) + sorted(some.rows[some.rows.index(4) :], reverse=True)


@pytest.mark.parametrize("scheduler", [PNDMScheduler, HeunDiscreteScheduler, KDPM2DiscreteScheduler])
def test_schedulers_that_call_more_often_than_they_step_are_guided_too(scheduler: Any) -> None:
    row = GUIDED[0]
    guided, all_of_them, some = (Run(model_with(row, interval, scheduler), item(0)) for interval in (None, ALL, SOME))
    assert torch.equal(all_of_them.images["image-0"], guided.images["image-0"])
    assert not torch.equal(some.images["image-0"], guided.images["image-0"])
    assert len(some.rows) == len(guided.rows) > STEPS
    assert (some.rows[0], some.rows[-1], max(some.rows)) == (2, 2, 4)


@pytest.mark.parametrize("row", GUIDED, ids=lambda row: row.id)
def test_an_image_is_the_same_beside_others_at_other_steps(row: Row) -> None:
    model = model_with(row, SOME)
    alone = {made.image_id: Run(model, made).images[made.image_id] for made in (item(0), item(1), item(2))}
    company = Run(model, item(0), item(1), item(2))
    assert all(torch.equal(company.images[image_id], image) for image_id, image in alone.items())


@pytest.mark.parametrize("row", GUIDED, ids=lambda row: row.id)
def test_a_stock_call_of_several_images_is_guided_alike(row: Row) -> None:
    model = model_with(row, SOME)
    made = [item(0), item(1)]
    arguments = {
        "prompt": [image.prompt for image in made],
        "width": 64,
        "height": 64,
        "num_inference_steps": STEPS,
        "guidance_scale": 3.0,
        "output_type": "pt",
        **(
            {"use_resolution_binning": False, "clean_caption": False}
            if row.tiny in ("sana_pipeline", "pixart_sigma_pipeline")
            else {}
        ),
    }
    generators = [torch.Generator("cpu").manual_seed(image.seed) for image in made]
    with torch.no_grad():
        images = partly_guided(model.pipeline, SOME, len(made))(**arguments, generator=generators).images
    for image, expected in zip(made, images, strict=True):
        found = Run(model, image).images[image.image_id]
        torch.testing.assert_close(found, expected.float().cpu(), rtol=0, atol=1e-3)


def test_a_second_pass_is_guided_by_its_own_noise() -> None:
    row = GUIDED[1]
    second = SecondPass(2, 0.3, 2, None)
    settings = CallSettings(128, 128, STEPS, 3.0, second)
    # Noise that only the first pass has.
    first_only = (0.6, 1.0)
    run = Run(model_with(row, first_only), item(0), settings=settings)
    assert run.rows[0] == 4
    assert run.rows[-2:] == [2, 2]


def test_the_cost_of_a_step_is_known_once_an_image_is_done() -> None:
    run = Run(model_with(GUIDED[0], SOME), *(item(number) for number in range(6)))
    assert run.slots.seconds_per_step is not None


def test_the_cost_is_known_although_images_are_never_guided_together() -> None:
    # The third to the sixth of twelve steps are guided, so each of two images is guided while the other one is not.
    settings = msgspec.structs.replace(SETTINGS, steps=12)
    model = msgspec.structs.replace(model_with(GUIDED[0], (0.7, 0.95)), findings=Findings(None))
    run = Run(model, *(item(number) for number in range(6)), settings=settings, every=6)
    assert run.slots.seconds_per_step is not None
