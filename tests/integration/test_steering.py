"""Colours that images are steered to, in every family that can be steered: they act, and an image stays itself."""

import inspect
from collections.abc import Sequence
from typing import Any

import diffusers
import msgspec
import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from pipelines.checks.steering import STEERED_PIPELINES, STEERED_SCHEDULERS
from pipelines.colors import PaletteMode, Rgb
from pipelines.denoising.batch import Denoised, ImageFailed, Outcome
from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import family_of
from pipelines.denoising.forecast import mix
from pipelines.denoising.latent_grid import LatentGrid
from pipelines.denoising.latent_paint import LatentPaint
from pipelines.denoising.slots import Slots
from pipelines.denoising.steering import expected, gain_at
from pipelines.model_card import ModelCard
from pipelines.output.measurement import evaluate
from pipelines.protocol import Item
from pipelines.studio_tiny.vocabulary import prompt
from pipelines.upscale import SecondPass
from pipelines.worker.loader import LoadedModel, load
from tests.support.company import assert_same_in_company
from tests.support.device import DEVICE
from tests.support.model_matrix import ROWS, Row
from tests.support.server import ROOT
from tests.support.tiny_models import STEPS, batch_of, model_of_row

WIDTH, HEIGHT = 64, 96
NAVY, IVORY = (31, 42, 68), (243, 234, 215)
PLAIN = Item("plain", 7, "marble warm", " ", "-", colors=(NAVY,))
STEERED = msgspec.structs.replace(PLAIN, image_id="steered", palette=PaletteMode.STEER)


def row_of(maker: str) -> Row:
    return next(row for row in ROWS if row.tiny == maker)


@pytest.fixture(scope="module", params=list({row.tiny: row for row in ROWS}.values()), ids=lambda row: row.id)
def model(request: pytest.FixtureRequest) -> LoadedModel:
    row: Row = request.param
    if row.pipeline not in STEERED_PIPELINES:
        pytest.skip(f"{row.pipeline} cannot be steered")
    return model_of_row(row)


class Run:
    """A batch of two places, and its outcomes."""

    def __init__(self, model: LoadedModel, *items: Item, second: SecondPass | None = None) -> None:
        self.images: dict[str, torch.Tensor] = {}
        factor = second.factor if second is not None else 1
        settings = CallSettings(WIDTH * factor, HEIGHT * factor, STEPS, model.card.sampling.guidance, second)
        self.batch = batch_of(model, settings, self._watch)
        for item in items:
            self.batch.enter(item)
        while len(self.batch):
            self.batch.tick()

    def _watch(self, outcome: Outcome) -> None:
        match outcome:
            case Denoised(item=item, image=image, finite=finite):
                assert finite
                self.images[item.image_id] = image
            case ImageFailed(error=error):
                raise error


def test_a_steered_image_is_the_same_in_company_and_leaves_its_neighbour(model: LoadedModel) -> None:
    alone = Run(model, STEERED).images["steered"]
    plain = Run(model, PLAIN).images["plain"]
    assert not torch.equal(alone, plain)
    company = Run(model, STEERED, PLAIN)
    assert_same_in_company(company.batch, company.images["steered"], alone)
    assert_same_in_company(company.batch, company.images["plain"], plain)
    # The images made in the meantime change nothing.
    assert torch.equal(Run(model, STEERED).images["steered"], alone)


@pytest.mark.parametrize("maker", ["sdxl_pipeline", "flux_pipeline", "hidream_pipeline"])
def test_without_colors_an_image_is_not_steered(maker: str) -> None:
    model = model_of_row(row_of(maker))
    plain = Run(model, PLAIN).images["plain"]
    colorless = Run(model, msgspec.structs.replace(STEERED, colors=())).images["steered"]
    assert torch.equal(colorless, plain)


def test_the_first_of_two_passes_is_steered() -> None:
    model = model_of_row(row_of("sdxl_pipeline"))
    second = SecondPass(2, 0.5, 2)
    steered = Run(model, STEERED, second=second).images["steered"]
    assert steered.shape == (3, 2 * HEIGHT, 2 * WIDTH)
    assert not torch.equal(steered, Run(model, PLAIN, second=second).images["plain"])


@pytest.mark.parametrize("scheduler", sorted(STEERED_SCHEDULERS))
def test_every_scheduler_is_exact_too(scheduler: str) -> None:
    row = row_of("sd3_pipeline" if scheduler.startswith("FlowMatch") else "sdxl_pipeline")
    model = model_of_row(row, getattr(diffusers, scheduler))
    alone = Run(model, STEERED).images["steered"]
    assert not torch.equal(alone, Run(model, PLAIN).images["plain"])
    assert torch.equal(Run(model, STEERED, PLAIN).images["steered"], alone)


@pytest.mark.parametrize("name", sorted(STEERED_SCHEDULERS))
def test_every_scheduler_makes_the_picture_that_its_answers_expect(name: str) -> None:
    """Let a denoiser that knows the picture and its noise answer at every call of a schedule, each time for a moved picture."""
    kind: Any = getattr(diffusers, name)
    known = {"clip_sample": False, "skip_prk_steps": True, "beta_schedule": "scaled_linear"}
    scheduler = kind(**{key: value for key, value in known.items() if key in inspect.signature(kind).parameters})
    scheduler.set_timesteps(8)
    numbers = torch.Generator().manual_seed(1)
    picture, noise, change = (torch.randn(1, 4, 32, 32, generator=numbers) for _ in range(3))
    a, b = mix(scheduler, 0) or (0.0, 0.0)
    sample = a * picture + b * noise
    drawn = {"generator": numbers} if "generator" in inspect.signature(scheduler.step).parameters else {}
    for call, timestep in enumerate(scheduler.timesteps):
        a, b = mix(scheduler, call) or (0.0, 0.0)
        if call:
            left = (sample - a * (picture + change)) / b
            assert float(left.std()) == pytest.approx(1.0, abs=0.1), f"there is other noise before call {call}"
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(sample, timestep)
        answer = (sample - a * picture) / b - (picture if name.startswith("FlowMatch") else 0)
        _, slope = expected(scheduler, call, answer, sample)
        sample = scheduler.step(answer + slope * change, timestep, sample, **drawn).prev_sample
    torch.testing.assert_close(sample, picture + change, rtol=0, atol=0.2)


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler(timestep_spacing="trailing", clip_sample=False),
        DDIMScheduler(timestep_spacing="trailing", prediction_type="sample", clip_sample=False),
        DDIMScheduler(
            timestep_spacing="trailing",
            rescale_betas_zero_snr=True,
            prediction_type="v_prediction",
            clip_sample=False,
        ),
        EulerDiscreteScheduler(),
        EulerDiscreteScheduler(prediction_type="v_prediction"),
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        DPMSolverMultistepScheduler(),
        DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0),
    ],
    ids=["epsilon", "sample", "v, zero snr", "euler", "euler, v", "flow", "dpm++", "dpm++, flow"],
)
def test_the_picture_that_an_answer_expects_can_be_changed(scheduler: Any) -> None:
    """Check that a step from the changed answer gives the latents of the changed picture and the same noise."""
    scheduler.set_timesteps(8)
    numbers = torch.Generator().manual_seed(1)
    picture, noise, change = (torch.randn(1, 4, 8, 8, generator=numbers) for _ in range(3))
    kind = "flow_prediction" if "FlowMatch" in type(scheduler).__name__ else scheduler.config["prediction_type"]

    def mixed(call: int, clean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        known = mix(scheduler, call)
        assert known is not None
        return known[0] * clean + known[1] * noise

    for call in range(8):
        known = mix(scheduler, call)
        assert known is not None
        a, b = known
        whole = (a**2 + b**2) ** 0.5
        answer = {
            "epsilon": noise,
            "sample": picture,
            "v_prediction": (a * noise - b * picture) / whole,
            "flow_prediction": noise - picture,
        }[kind]
        sample = mixed(call, picture, noise)
        clean, slope = expected(scheduler, call, answer, sample)
        torch.testing.assert_close(clean, picture, rtol=1e-2, atol=2e-2)
        again, _ = expected(scheduler, call, answer + slope * change, sample)
        torch.testing.assert_close(again, clean + change, rtol=1e-3, atol=1e-3)
        if call == 0:
            if hasattr(scheduler, "scale_model_input"):
                scheduler.scale_model_input(sample, scheduler.timesteps[0])
            stepped = scheduler.step(answer + slope * change, scheduler.timesteps[0], sample).prev_sample
            left = (sample - a * (picture + change)) / b
            torch.testing.assert_close(stepped, mixed(1, picture + change, left), rtol=1e-2, atol=2e-2)


def test_an_image_that_cannot_be_steered_fails_and_says_why() -> None:
    model = model_of_row(row_of("sdxl_pipeline"), EDMEulerScheduler)
    told = "no image can be steered: Backlot does not know how much noise EDMEulerScheduler leaves at each step"
    with pytest.raises(ValueError, match=told):
        Run(model, STEERED)
    strange = DDIMScheduler(prediction_type="score")
    strange.set_timesteps(4)
    with pytest.raises(ValueError, match="DDIMScheduler reads answers as 'score'"):
        expected(strange, 0, torch.ones(1), torch.ones(1))


@pytest.mark.parametrize("calls", [1, 2, 4, 12, 50])
def test_colors_are_moved_less_towards_the_end(calls: int) -> None:
    gains = [gain_at(call, calls) for call in range(calls)]
    assert max(gains) > 0
    assert calls == 1 or gains[0] == 0
    rest = gains[gains.index(max(gains)) :]
    assert rest == sorted(rest, reverse=True)
    assert calls < 12 or gains[-1] < 0.5


@pytest.fixture(scope="module")
def shipped() -> LoadedModel:
    card = ModelCard.from_flat(
        name="studio-tiny",
        folder=str(ROOT / "pipelines" / "studio_tiny" / "weights"),
        licence="-",
        tiers=("0.5K",),
        steps=8,
        guidance=3.0,
    )
    model = load(card, traced=False)
    model.pipeline.to(DEVICE)
    return model


def test_colors_and_latents_are_told_from_each_other(shipped: LoadedModel) -> None:
    grid = LatentGrid("grid", True, 16, torch.float32, DEVICE)
    corners = torch.tensor([[0.8, 0.2, 0.2], [0.2, 0.5, 0.3], [0.2, 0.3, 0.7], [0.9, 0.9, 0.8]])
    fields = corners[:, :, None, None].expand(4, 3, 128, 128)
    with torch.inference_mode():
        paint = LatentPaint().of(shipped.pipeline, grid)
        cells = [field.permute(1, 2, 0) for field in grid.encoded(shipped.pipeline, fields)]
        seen = [paint.colors(cell).cpu() for cell in cells]
        moved = [
            paint.colors(cell + paint.change((after - before).to(DEVICE))).cpu()
            for cell, before, after in zip(cells, seen, reversed(seen), strict=True)
        ]
    wanted = [field[:, :8, :8].permute(1, 2, 0) for field in fields]
    torch.testing.assert_close(torch.stack(seen), torch.stack(wanted), rtol=0, atol=0.08)
    torch.testing.assert_close(torch.stack(moved), torch.stack(wanted).flip(0), rtol=0, atol=0.08)


def distances(model: LoadedModel, palette: PaletteMode, colors: Sequence[Rgb], seed: int) -> list[float]:
    """Return how far a small image of the shipped model, whose prompt names no colour, is from each colour."""
    item = Item("image", seed, prompt("podium", "neutral", ()), "", "-", colors=tuple(colors), palette=palette)
    done: list[Denoised] = []
    family = family_of(model.pipeline)
    assert family is not None
    slots = Slots(
        model,
        family,
        CallSettings(256, 256, 8, model.card.sampling.guidance),
        1,
        lambda out: done.append(out) if isinstance(out, Denoised) else None,
    )
    slots.enter(item)
    while len(slots):
        slots.tick()
    pixels = (done[0].image.clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return [color.delta_e for color in evaluate(np.ascontiguousarray(pixels), colors).palette]


@pytest.mark.parametrize("colors", [(NAVY,), ((196, 98, 63), (40, 110, 120))], ids=["one", "two"])
def test_an_image_of_the_shipped_model_comes_near_to_its_colors(shipped: LoadedModel, colors: tuple[Rgb, ...]) -> None:
    plain = distances(shipped, PaletteMode.PROMPT, colors, 3)
    steered = distances(shipped, PaletteMode.STEER, colors, 3)
    assert min(plain) > 10
    assert max(steered) < 0.6 * max(plain)
