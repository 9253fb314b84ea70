"""Images above their model's own size: the second pass, of every family that can have one."""

import copy
from typing import Any

import msgspec
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

from pipelines.denoising.batch import Denoised, ImageFailed, Outcome, Stepped
from pipelines.denoising.call import CallSettings, run_call
from pipelines.denoising.families import family_of
from pipelines.denoising.late_start import LateStart, draws_noise
from pipelines.denoising.latent_grid import LatentGrid
from pipelines.denoising.slots import Slots
from pipelines.denoising.tiles import Tiles
from pipelines.protocol import Item
from pipelines.upscale import UPSCALING_PIPELINES, SecondPass
from pipelines.worker.loader import LoadedModel
from tests.support.company import assert_same_in_company
from tests.support.device import DEVICE
from tests.support.model_matrix import ROWS, Row
from tests.support.tiny_models import STEPS, batch_of, model_of_row

WIDTH, HEIGHT = 64, 96
ITEM = Item("image", 7, "marble warm", " ", "-")
SECOND = SecondPass(2, 0.5, 2)
#: A second pass of two tiles across and three down.
TILED = msgspec.structs.replace(SECOND, tile=96)
#: One to four times the width, as from 1K to 4K.
FOUR_TIMES = msgspec.structs.replace(SECOND, factor=4, tile=160)


@pytest.fixture(scope="module", params=list({row.tiny: row for row in ROWS}.values()), ids=lambda row: row.id)
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    if found.pipeline not in UPSCALING_PIPELINES:
        pytest.skip(f"{found.pipeline} has no second pass")
    return found


@pytest.fixture(scope="module")
def model(row: Row) -> LoadedModel:
    return model_of_row(row)


def settings_of(model: LoadedModel, second: SecondPass | None = None) -> CallSettings:
    factor = second.factor if second is not None else 1
    return CallSettings(WIDTH * factor, HEIGHT * factor, STEPS, model.card.sampling.guidance, second)


def own_scheduler(model: LoadedModel) -> Any:
    pipeline = copy.copy(model.pipeline)
    vars(pipeline)["scheduler"] = copy.deepcopy(pipeline.scheduler)
    return pipeline


def ends_where_the_whole_call_ends(model: LoadedModel) -> None:
    """Check that a call that begins with the latents after step 2, and adds no noise, ends as the call that gave them."""
    reached: list[torch.Tensor] = []
    shares: list[float] = []
    pipeline = own_scheduler(model)

    def keep(call: int, _: int | None, latents: torch.Tensor) -> None:
        reached.append(latents.clone())
        scheduler = pipeline.scheduler
        if call + 1 < len(scheduler.timesteps):
            one, moment = torch.ones(1, 1, device=DEVICE), scheduler.timesteps[call + 1 : call + 2]
            if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
                shares.append(float(scheduler.scale_noise(one, moment, 0 * one)))
            else:
                shares.append(float(scheduler.add_noise(one, 0 * one, moment)))

    settings = settings_of(model)
    with torch.inference_mode():
        run_call(pipeline, model, settings, [ITEM], keep)
        whole, shares_before = list(reached), list(shares)
        grid = LatentGrid.of(model.pipeline, whole[1], WIDTH, HEIGHT)
        spread = grid.spread(whole[1], HEIGHT // grid.cell, WIDTH // grid.cell)
        start = LateStart(grid.as_given(spread / shares_before[1]), grid.as_given(0 * spread), STEPS - 2)
        reached.clear()
        pipeline = own_scheduler(model)
        run_call(pipeline, model, settings, [ITEM], keep, start)
    assert len(reached) == STEPS - 2
    torch.testing.assert_close(reached[-1], whole[-1], rtol=1e-3, atol=1e-3)


def test_a_late_start_ends_where_the_whole_call_ends(row: Row, model: LoadedModel) -> None:
    if isinstance(model.pipeline.scheduler, DPMSolverMultistepScheduler):
        # Each step of this scheduler depends on those before it, which a late start does not have.
        model = model_of_row(row, DDIMScheduler)
    ends_where_the_whole_call_ends(model)


@pytest.mark.parametrize("scheduler", [DDIMScheduler, EulerDiscreteScheduler])
def test_a_late_start_of_another_scheduler(scheduler: Any) -> None:
    row = next(row for row in ROWS if row.tiny == "sdxl_pipeline")
    ends_where_the_whole_call_ends(model_of_row(row, scheduler))


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
@pytest.mark.parametrize("skip_prk_steps", [True, False])
def test_a_late_start_of_pndm_leaves_no_noise(steps: int, skip_prk_steps: bool) -> None:
    scheduler = PNDMScheduler(skip_prk_steps=skip_prk_steps, set_alpha_to_one=True, steps_offset=1)
    clean, noise = torch.full((1, 4), 0.5), torch.tensor([[-1.0, 0.5, 1.0, 2.0]])
    start = LateStart(clean, noise, steps)
    start.shorten(scheduler)
    scheduler.set_timesteps(20)
    assert len(scheduler.timesteps) == (steps + 1 if steps > 1 else 1)
    latents = start.latents
    for timestep in scheduler.timesteps:
        # A denoiser that knows the picture finds the noise that is there, if it is told how much that is.
        kept = float(scheduler.alphas_cumprod[timestep])
        found = (latents - kept**0.5 * clean) / (1 - kept) ** 0.5
        latents = scheduler.step(found, timestep, latents).prev_sample
    torch.testing.assert_close(latents, clean)


def test_a_late_start_of_a_model_with_a_schedule_of_its_own_has_the_noise_that_is_asked_for() -> None:
    model = model_of_row(next(row for row in ROWS if row.pipeline == "QwenImage21Pipeline"))
    model.pipeline.register_to_config(sample_sigmas=[1.0, 0.9, 0.6, 0.3])
    pipeline = own_scheduler(model)
    tokens = torch.zeros(1, WIDTH * HEIGHT // 16**2, 4, device=DEVICE)
    settings = CallSettings(WIDTH, HEIGHT, 8, model.card.sampling.guidance)
    calls: list[int] = []
    with torch.inference_mode():
        start = LateStart(tokens, torch.ones_like(tokens), 2)
        run_call(pipeline, model, settings, [ITEM], lambda call, step, latents: calls.append(call), start)
    assert calls == [0, 1]
    torch.testing.assert_close(pipeline.scheduler.sigmas.cpu(), torch.tensor([0.3, 0.15, 0.0]))
    torch.testing.assert_close(start.latents, torch.full_like(tokens, 0.3))


def test_what_is_encoded_is_what_the_pipeline_would_decode(model: LoadedModel) -> None:
    """Check that the way from the VAE's latents to the denoiser's undoes what the pipeline does before it decodes."""
    last: list[torch.Tensor] = []
    decoded: list[torch.Tensor] = []
    pipeline = own_scheduler(model)

    class Listening:
        def __getattr__(self, name: str) -> Any:
            return getattr(model.pipeline.vae, name)

        def decode(self, latents: torch.Tensor, *arguments: Any, **keywords: Any) -> Any:
            decoded.append(latents)
            return model.pipeline.vae.decode(latents, *arguments, **keywords)

    vars(pipeline)["vae"] = Listening()
    with torch.inference_mode():
        run_call(pipeline, model, settings_of(model), [ITEM], lambda call, step, latents: last.append(latents))
        own = decoded[0][:, :, 0] if decoded[0].ndim == 5 else decoded[0]
        grid = LatentGrid.of(model.pipeline, last[-1], WIDTH, HEIGHT)
        again = grid.scaled(model.pipeline.vae, own, WIDTH)
    torch.testing.assert_close(again, grid.spread(last[-1], HEIGHT // grid.cell, WIDTH // grid.cell).float())
    assert torch.equal(grid.as_kept(grid.spread(last[-1], HEIGHT // grid.cell, WIDTH // grid.cell)), last[-1])


@pytest.mark.parametrize(("rows", "columns", "largest", "multiple", "scale"), [(48, 32, 20, 2, 1), (12, 8, 8, 1, 4)])
def test_tiles_cover_a_picture_and_mix_to_it(rows: int, columns: int, largest: int, multiple: int, scale: int) -> None:
    tiles = Tiles(rows, columns, largest, multiple)
    assert tiles.rows <= largest >= tiles.columns
    assert tiles.rows % multiple == tiles.columns % multiple == 0
    whole = torch.rand(3, rows * scale, columns * scale)
    for sharp in (False, True):
        torch.testing.assert_close(tiles.joined(tiles.cut(whole, scale), scale, sharp=sharp), whole)
    # No edge can be seen between a black and a white tile.
    parts = [torch.full_like(part, index % 2) for index, part in enumerate(tiles.cut(whole, scale))]
    assert float(tiles.joined(parts, scale).diff(dim=2).abs().max()) <= 1 / 3


class Run:
    """A batch of two places, and its outcomes."""

    def __init__(self, model: LoadedModel, second: SecondPass, *seeds: int) -> None:
        self.images: dict[int, torch.Tensor] = {}
        self.steps: dict[int, list[int]] = {}
        self.forecasts: list[torch.Tensor] = []
        self.batch = batch_of(model, settings_of(model, second), self._watch)
        for seed in seeds:
            self.batch.enter(msgspec.structs.replace(ITEM, image_id=str(seed), seed=seed))

    def to_its_end(self) -> dict[int, torch.Tensor]:
        while len(self.batch):
            self.batch.tick()
        return self.images

    def _watch(self, outcome: Outcome) -> None:
        match outcome:
            case Stepped(item=item, step=step, forecast=forecast):
                self.steps.setdefault(item.seed, []).append(step)
                if step > STEPS + 1 and (latents := forecast()) is not None:
                    self.forecasts.append(latents)
            case Denoised(item=item, image=image, finite=finite):
                assert finite
                self.images[item.seed] = image
            case ImageFailed(error=error):
                raise error


@pytest.mark.parametrize("second", [SECOND, TILED, FOUR_TIMES], ids=["whole", "tiled", "four times"])
def test_an_image_is_enlarged_and_the_same_in_company(model: LoadedModel, second: SecondPass) -> None:
    alone = Run(model, second, 7).to_its_end()[7]
    assert alone.shape == (3, second.factor * HEIGHT, second.factor * WIDTH)
    company = Run(model, second, 7, 5)
    images = company.to_its_end()
    assert_same_in_company(company.batch, images[7], alone)
    assert not torch.equal(images[5], alone)
    assert company.steps == {5: [1, 2, 3, 4, 5, 6], 7: [1, 2, 3, 4, 5, 6]}
    assert company.batch.seconds_per_step is None or company.batch.seconds_per_step > 0
    seen = model.colors.picture(company.forecasts[0], second.factor * WIDTH, second.factor * HEIGHT)
    assert seen is None or seen.shape[0] * WIDTH == seen.shape[1] * HEIGHT


def test_an_image_can_be_cancelled_in_its_second_pass(model: LoadedModel) -> None:
    run = Run(model, TILED, 7, 5)
    while not run.steps.get(5) or run.steps[5][-1] <= STEPS:
        run.batch.tick()
    assert run.batch.leave("5")
    assert list(run.to_its_end()) == [7]
    assert_same_in_company(run.batch, run.images[7], Run(model, TILED, 7).to_its_end()[7])


@pytest.mark.parametrize(
    "scheduler", [LCMScheduler, DPMSolverMultistepScheduler, PNDMScheduler, UniPCMultistepScheduler]
)
def test_another_scheduler_is_exact_too(scheduler: Any) -> None:
    model = model_of_row(next(row for row in ROWS if row.tiny == "sdxl_pipeline"), scheduler)
    assert draws_noise(model.pipeline.scheduler, {}) == (scheduler is LCMScheduler)
    alone = Run(model, TILED, 7).to_its_end()[7]
    company = Run(model, TILED, 7, 5)
    assert torch.equal(company.to_its_end()[7], alone)
    assert company.steps[7] == [1, 2, 3, 4, 5, 6]


#: Schedulers that draw noise at each step if they are told to, each with a family that runs with it.
NOISY: list[tuple[str, Any, dict[str, Any], dict[str, Any]]] = [
    ("flux_pipeline", FlowMatchEulerDiscreteScheduler, {"stochastic_sampling": True}, {}),
    ("sdxl_pipeline", DDIMScheduler, {}, {"eta": 0.5}),
]


@pytest.mark.parametrize(("maker", "scheduler", "options", "arguments"), NOISY)
def test_noise_that_is_drawn_at_each_step_is_not_mixed_away(
    maker: str, scheduler: Any, options: dict[str, Any], arguments: dict[str, Any]
) -> None:
    model = model_of_row(next(row for row in ROWS if row.tiny == maker), scheduler)
    assert not draws_noise(model.pipeline.scheduler, {})
    model.pipeline.scheduler.register_to_config(**options)
    assert draws_noise(model.pipeline.scheduler, arguments)
    sampling = msgspec.structs.replace(model.card.sampling, arguments=arguments)
    noisy = msgspec.structs.replace(model, card=msgspec.structs.replace(model.card, sampling=sampling))
    alone = Run(noisy, TILED, 7).to_its_end()[7]
    assert torch.equal(Run(noisy, TILED, 7, 5).to_its_end()[7], alone)


def test_an_error_in_a_tile_fails_its_image_alone() -> None:
    model = model_of_row(next(row for row in ROWS if row.tiny == "unet_pipeline"))
    failed: list[ImageFailed] = []
    made: list[Denoised] = []

    def watch(outcome: Outcome) -> None:
        if isinstance(outcome, ImageFailed):
            failed.append(outcome)
        if isinstance(outcome, Denoised):
            made.append(outcome)

    family = family_of(model.pipeline)
    assert family is not None
    slots = Slots(model, family, settings_of(model, TILED), 2, watch)
    # The second pass seeds its generator with -1 less this seed, which is below what a generator takes.
    slots.enter(msgspec.structs.replace(ITEM, image_id="bad", seed=2**63))
    slots.enter(ITEM)
    while len(slots):
        slots.tick()
    assert [outcome.item.image_id for outcome in failed] == ["bad"]
    assert [denoised.item.image_id for denoised in made] == ["image"]
