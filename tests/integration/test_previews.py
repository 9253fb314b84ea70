"""Previews of images on their way, in every family."""

from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
)
from torch.nn.functional import adaptive_avg_pool2d

from pipelines.denoising.batch import Batch, Denoised, Outcome, Stepped
from pipelines.denoising.forecast import forecast
from pipelines.denoising.latent_colors import LatentColors, cells_of, coloured_fields
from pipelines.denoising.slots import Slots
from pipelines.denoising.whole_batch import WholeBatch
from tests.support.tiny_models import (
    FAMILIES,
    NAMES,
    OTHER_FAMILIES,
    OTHER_NAMES,
    SETTINGS,
    STEPS,
    Maker,
    family,
    item,
    model_of,
)

EVERY_FAMILY = [*((make, {}) for make in FAMILIES), *OTHER_FAMILIES]


class Seen:
    """The guesses and the finished images of a batch."""

    def __init__(self) -> None:
        self.guesses: list[torch.Tensor | None] = []
        self.done: list[Denoised] = []

    def watch(self, outcome: Outcome) -> None:
        match outcome:
            case Stepped(forecast=guess):
                self.guesses.append(guess())
            case Denoised():
                self.done.append(outcome)


@pytest.mark.parametrize("whole", [False, True], ids=["slots", "whole batch"])
@pytest.mark.parametrize(("make", "card"), EVERY_FAMILY, ids=[*NAMES, *OTHER_NAMES])
def test_an_image_can_be_seen_on_its_way(make: Maker, card: dict[str, Any], whole: bool) -> None:
    model, seen = model_of(make, **card), Seen()
    batch: Batch = (
        WholeBatch(model, SETTINGS, 1, seen.watch) if whole else Slots(model, family(model), SETTINGS, 1, seen.watch)
    )
    for number in range(2):
        batch.enter(item(number))
        while len(batch):
            batch.tick()
        model.colors.learn(*_learnt(seen.done[-1]))
    # The first step alone tells nothing.
    assert [guess is None for guess in seen.guesses] == [True, *[False] * (STEPS - 1)] * 2
    latents, image = _learnt(seen.done[-1])
    guess = seen.guesses[-2]
    assert guess is not None
    assert model.colors.picture(guess, SETTINGS.width, SETTINGS.height) is not None
    picture = model.colors.picture(latents, SETTINGS.width, SETTINGS.height)
    assert picture is not None
    assert picture.shape[0] == picture.shape[1]
    assert 0 <= picture.min() <= picture.max() <= 1
    wanted = adaptive_avg_pool2d(image, picture.shape[:2]).permute(1, 2, 0)
    assert (picture - wanted).square().mean() < wanted.var()


def _learnt(done: Denoised) -> tuple[torch.Tensor, torch.Tensor]:
    assert done.latents is not None
    return done.latents, done.image


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler(timestep_spacing="trailing", prediction_type="v_prediction"),
        DDIMScheduler(timestep_spacing="trailing", rescale_betas_zero_snr=True, prediction_type="v_prediction"),
        EulerDiscreteScheduler(),
        FlowMatchEulerDiscreteScheduler(),
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        DPMSolverMultistepScheduler(),
    ],
    ids=["ddim", "ddim, zero snr", "euler", "flow", "flow, shifted", "dpm++"],
)
def test_a_forecast_takes_the_noise_away(scheduler: Any) -> None:
    scheduler.set_timesteps(8)
    numbers = torch.Generator().manual_seed(1)
    picture, noise = (torch.randn(1, 4, 8, 8, generator=numbers) for _ in range(2))
    times = scheduler.timesteps

    def mixed(call: int) -> torch.Tensor:
        if hasattr(scheduler, "scale_noise"):
            made: torch.Tensor = scheduler.scale_noise(picture, times[call : call + 1], noise)
        else:
            made = scheduler.add_noise(picture, noise, times[call : call + 1])
        return made

    for call in range(len(times) - 1):
        guess = forecast(scheduler, call, mixed(call), mixed(call + 1))
        assert guess is not None
        assert torch.allclose(guess, picture, atol=2e-2), call
    last = forecast(scheduler, len(times) - 1, mixed(len(times) - 1), picture)
    assert last is not None
    assert torch.allclose(last, picture, atol=1e-5)


def test_without_two_steps_or_a_known_scheduler_nothing_is_made_up() -> None:
    latents = torch.ones(1, 4, 2, 2)
    scheduler = LCMScheduler()
    scheduler.set_timesteps(4)
    assert forecast(scheduler, 0, None, latents) is None

    class Other:
        timesteps = torch.tensor([3, 2, 1])

    assert forecast(Other(), 0, latents, latents) is latents


# Sana has 32 channels, which may be more than rows or columns.
@pytest.mark.parametrize("features", [4, 32])
def test_latents_of_every_layout_are_cells(features: int) -> None:
    for shape in ((features, 9, 6), (features, 1, 9, 6), (1, 9, 6, features), (54, features)):
        cells = cells_of(torch.zeros(1, *shape), 600, 900)
        assert cells is not None
        assert cells.shape == (9, 6, features)


def test_latents_that_are_no_grid_are_not_shown() -> None:
    assert cells_of(torch.zeros(1, 53, 4), 900, 600) is None
    assert cells_of(torch.zeros(2, 4, 6, 9), 900, 600) is None
    assert LatentColors().picture(torch.zeros(1, 4, 6, 9), 900, 600) is None


def test_coloured_fields_have_every_colour() -> None:
    fields = coloured_fields()
    assert fields.shape[1] == 3
    for channel in range(3):
        assert fields[:, channel].min() < 0.05
        assert fields[:, channel].max() > 0.95
