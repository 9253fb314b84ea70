"""The second pass: a finished picture is enlarged, and gets the details of its new size.

The pipeline's own call begins late, from the enlarged picture and some noise. It works on the whole picture, or on
overlapping tiles if the card asks for them. All tiles take a step together. Then their latents are mixed in the overlaps
(Bar-Tal et al. 2023, MultiDiffusion, arXiv:2302.08113), so that neighbours grow into one picture and no edge is left.

The picture is enlarged, and not its latents, whose edges would need far more noise to be sharp again (see
docs/decisions/second-pass.md).
"""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import numpy as np
import torch
from greenlet import GreenletExit, greenlet
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from pipelines.denoising.batch import Denoised, Stepped, Watch
from pipelines.denoising.call import CallSettings, Pictures, run_call
from pipelines.denoising.coroutine import pause
from pipelines.denoising.forecast import forecast
from pipelines.denoising.late_start import LateStart, draws_noise
from pipelines.denoising.latent_grid import LatentGrid
from pipelines.denoising.tiles import Tiles
from pipelines.protocol import Item
from pipelines.upscale import SecondPass
from pipelines.worker.loader import LoadedModel

#: The width in pixels of the areas of the first pass's picture whose colours the second pass keeps.
_COLOUR_AREA = 32


class _StepEnd(msgspec.Struct, frozen=True):
    """A call for one or several tiles ended a step."""

    scheduler: Any
    call: int
    #: In the pipeline's layout. The pipeline goes on with the numbers that are written into them.
    latents: torch.Tensor


def enlarge(
    model: LoadedModel,
    settings: CallSettings,
    first: Denoised,
    *,
    pipeline_of: Callable[[], Any],
    at_once: int,
    watch: Watch,
) -> Denoised:
    """Return an image at the size of `settings`, which have a second pass, from the result of the first pass.

    It must run in a coroutine of a batch. `pipeline_of` returns a pipeline with a scheduler of its own; each call takes
    `at_once` tiles, if there are as many. When the calls pause, this pauses with a list of their values, one for each call,
    and the batch resumes it with a list of answers. `watch` is told of each step before the next one begins. Raises what the
    pipeline raises.
    """
    second, latents = settings.second, first.latents
    if second is None or latents is None:
        raise ValueError("there is no second pass, or the first one told of no step")
    if first.blacked_out:
        return msgspec.structs.replace(first, image=torch.zeros(3, settings.height, settings.width), latents=None)
    started = time.perf_counter()
    begun = _begin(model, settings, second, first, latents, at_once)
    calls = [
        greenlet(partial(_run_tiles, pipeline_of, model, begun.size, items, start)) for items, start in begun.calls
    ]
    try:
        steps = _take_steps(
            begun,
            second,
            calls,
            model.card.sampling.arguments,
            lambda step, own: watch(Stepped(first.item, settings.steps + step, own)),
        )
    finally:
        for call in calls:
            if not call.dead:
                call.throw(GreenletExit)
    pictures = [picture for made in steps.made for picture in made.images.float().cpu()][: len(begun.tiles)]
    picture = begun.tiles.joined(pictures, begun.grid.cell)
    denoising, decoding = steps.ended - started, time.perf_counter() - steps.ended
    return Denoised(
        first.item,
        _with_colors(picture, begun.enlarged, _COLOUR_AREA * second.factor),
        first.finite and steps.finite,
        None,
        {
            "denoising_s": round(first.timings["denoising_s"] + denoising, 4),
            "decoding_s": round(first.timings["decoding_s"] + decoding, 4),
        },
        any(flag for made in steps.made for flag in made.blacked_out),
    )


class _Begun(msgspec.Struct, frozen=True):
    """The pictures, latents and tiles that a second pass begins with."""

    grid: LatentGrid
    tiles: Tiles
    #: The first pass's picture at the new size.
    enlarged: torch.Tensor
    #: The latents of `enlarged`, without noise.
    whole: torch.Tensor
    #: The settings of the call for one tile.
    size: CallSettings
    #: The items and the late start of each call of the pipeline. All calls have equally many tiles.
    calls: list[tuple[list[Item], LateStart]]


def _begin(
    model: LoadedModel, settings: CallSettings, second: SecondPass, first: Denoised, latents: torch.Tensor, at_once: int
) -> _Begun:
    """Enlarge the first pass's picture, encode it, draw noise for it, and divide both among calls of `at_once` tiles."""
    height, width = first.image.shape[-2:]
    grid = LatentGrid.of(model.pipeline, latents, width, height)
    rows, columns = settings.height // grid.cell, settings.width // grid.cell
    largest = max(rows, columns) if second.tile is None else max(1, second.tile // grid.cell)
    tiles = Tiles(rows, columns, largest, max(1, model.card.limits.multiple_of // grid.cell))
    enlarged = _resized(first.image, settings)
    whole = tiles.joined([grid.encoded(model.pipeline, tile[None]) for tile in tiles.cut(enlarged, grid.cell)])
    # The first pass drew its noise from the seed itself, so this seed must be another.
    random = torch.Generator("cpu").manual_seed(-1 - first.item.seed)
    noise = torch.randn(whole.shape, generator=random).to(whole.device)
    # Each tile's call gets a seed of its own, so that the noise of later steps does not repeat from tile to tile.
    seeds = torch.randint(2**53, (len(tiles),), generator=random).tolist()

    clean, noises = tiles.cut(whole), tiles.cut(noise)
    at_once = min(at_once, len(tiles))
    calls = []
    for begin in range(0, len(tiles), at_once):
        # The last call is padded with repetitions of the last tile.
        chosen = [min(index, len(tiles) - 1) for index in range(begin, begin + at_once)]
        start = LateStart(
            grid.as_given(torch.cat([clean[index] for index in chosen])),
            grid.as_given(torch.cat([noises[index] for index in chosen])),
            second.steps,
        )
        calls.append(([msgspec.structs.replace(first.item, seed=seeds[index]) for index in chosen], start))
    size = CallSettings(tiles.columns * grid.cell, tiles.rows * grid.cell, second.schedule, settings.guidance)
    return _Begun(grid, tiles, enlarged, whole, size, calls)


class _Steps(msgspec.Struct, frozen=True):
    """The result of the steps of all tiles."""

    #: The pictures of each call.
    made: list[Pictures]
    finite: bool
    #: When the last step ended, by time.perf_counter.
    ended: float


def _take_steps(
    begun: _Begun,
    second: SecondPass,
    calls: list[greenlet],
    arguments: Mapping[str, Any],
    stepped: Callable[[int, Callable[[], torch.Tensor | None]], None],
) -> _Steps:
    """Let all calls take their steps together, and mix their latents after each, until they have decoded their tiles.

    `arguments` are those of the card. `stepped` is called after each step with its number, from 1, and a function that
    forecasts the last latents. Between two steps the batch runs the denoiser.
    """
    step, finite, ended, whole = 0, True, time.perf_counter(), begun.whole
    answers: list[Any] = [None] * len(calls)
    while True:
        # The calls are started and resumed only here; see coroutine.py.
        told = [call.switch(answer) for call, answer in zip(calls, answers, strict=True)]
        if calls[0].dead:
            return _Steps(told, finite, ended)
        if not isinstance(told[0], _StepEnd):
            answers = pause(told)
            continue
        step += 1
        sharp = step < second.steps and draws_noise(told[0].scheduler, arguments)
        before, whole = whole, _mix(begun.grid, begun.tiles, told, sharp=sharp)
        if step == second.steps:
            # This waits for the device, so that the time below is true.
            finite = bool(torch.isfinite(whole).all())
        ended = time.perf_counter()
        stepped(step, partial(_forecast, begun.grid, told[0], before if step > 1 else None, whole))
        answers = [None] * len(calls)


def _run_tiles(
    pipeline_of: Callable[[], Any],
    model: LoadedModel,
    settings: CallSettings,
    items: list[Item],
    start: LateStart,
    _: None,
) -> Pictures:
    """Run the pipeline's call for some tiles, in its coroutine."""
    pipeline = pipeline_of()

    def after_call(call: int, step: int | None, latents: torch.Tensor) -> None:
        if step is not None:
            pause(_StepEnd(pipeline.scheduler, call, latents))

    return run_call(pipeline, model, settings, items, after_call, start)


def _mix(grid: LatentGrid, tiles: Tiles, ends: list[_StepEnd], *, sharp: bool) -> torch.Tensor:
    """Mix the tiles' latents in their overlaps, give each call its own part, and return the whole."""
    parts = [part for end in ends for part in grid.spread(end.latents, tiles.rows, tiles.columns).split(1)]
    whole = tiles.joined(parts[: len(tiles)], sharp=sharp)
    own = tiles.cut(whole)
    own += [own[-1]] * (len(parts) - len(own))
    at_once = len(parts) // len(ends)
    for index, end in enumerate(ends):
        end.latents.copy_(grid.as_kept(torch.cat(own[index * at_once : (index + 1) * at_once])))
    return whole


def _forecast(grid: LatentGrid, end: _StepEnd, before: torch.Tensor | None, after: torch.Tensor) -> torch.Tensor | None:
    latents = forecast(end.scheduler, end.call, before, after)
    return None if latents is None else grid.as_kept(latents)


def _resized(image: torch.Tensor, settings: CallSettings) -> torch.Tensor:
    """Return a picture (3, height, width), enlarged on the CPU to the size of `settings` by Lanczos' filter."""
    size = (settings.width, settings.height)
    channels = [
        Image.fromarray(channel).resize(size, Image.Resampling.LANCZOS) for channel in image.nan_to_num().numpy()
    ]
    return torch.from_numpy(np.stack([np.asarray(channel) for channel in channels])).clamp(0, 1)


def _with_colors(picture: torch.Tensor, colored: torch.Tensor, area: int) -> torch.Tensor:
    """Return a picture with the mean colours that another one has in areas this wide, both (3, height, width).

    A little of the colours is lost in each pass through the VAE, and each tile drifts in a way of its own.
    """
    cells = (math.ceil(picture.shape[1] / area), math.ceil(picture.shape[2] / area))
    missing = adaptive_avg_pool2d(colored - picture, cells)
    return picture + interpolate(missing[None], picture.shape[1:], mode="bicubic", align_corners=False)[0]
