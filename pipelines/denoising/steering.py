"""Steering: the guidance of images towards their requested colours while they are denoised.

Before each step of a scheduler the picture that the denoiser expects is computed, divided into materials, and moved to the
requested colours on a coarse grid. The denoiser's answer is changed to one that expects the moved picture. So every scheduler
keeps its own course, also one that remembers earlier steps, and the denoiser's later steps turn the moved colours into
surfaces and light. That is guidance in the clean picture (Bansal et al. 2023, Universal Guidance, arXiv:2302.07121), without
a gradient: the map from colours to latents is known (see `latent_paint`).
"""

from collections.abc import Sequence
from functools import wraps
from itertools import count
from typing import Any

import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from pipelines.checks.steering import steering_problem
from pipelines.colors import PaletteMode
from pipelines.denoising.forecast import mix
from pipelines.denoising.latent_grid import LatentGrid
from pipelines.denoising.latent_paint import LatentPaint, Paint
from pipelines.denoising.recoloring import Recoloring
from pipelines.protocol import Item

#: The longest side of the grid on which colours are moved.
_SIDE = 32
#: The part of the steps after which colours are moved: before it a picture can hardly be seen. A call of a single step is
#: steered all the same.
_SEEN = 0.1
#: The part of the steps after which the picture is not divided anew: its materials stay in their places.
_PARTED = 0.5
#: The part of the steps up to which colours are moved wholly, and the one from which they are not moved at all, so that the
#: denoiser mends the moved picture.
_WHOLLY, _NO_MORE = 0.7, 0.95


def steers(item: Item) -> bool:
    """Return whether an image is steered."""
    return item.palette is PaletteMode.STEER and bool(item.colors)


class Steering:
    """The steering of the images of one call of a pipeline."""

    def __init__(self, pipeline: Any, paint: LatentPaint, items: Sequence[Item], width: int, height: int) -> None:
        """Prepare to steer those of `items` that ask for it. Raises ValueError if pipeline or scheduler cannot be steered."""
        problem = steering_problem(type(pipeline).__name__, type(pipeline.scheduler).__name__)
        if problem is not None:
            raise ValueError(f"no image can be steered: {problem}")
        self._pipeline, self._paint, self._width, self._height = pipeline, paint, width, height
        self._recolorings = [Recoloring(item.colors) if steers(item) else None for item in items]

    def attach(self) -> None:
        """Have the pipeline's scheduler, which no other call may use, step from steered answers of the denoiser."""
        scheduler = self._pipeline.scheduler
        step, calls = scheduler.step, count()

        @wraps(step)
        def steered_step(output: torch.Tensor, timestep: Any, sample: torch.Tensor, **options: Any) -> Any:
            return step(self._steered(next(calls), output, sample), timestep, sample, **options)

        scheduler.step = steered_step

    def _steered(self, call: int, output: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        """Return the denoiser's answer, changed to expect the moved picture."""
        scheduler = self._pipeline.scheduler
        progress = call / len(scheduler.timesteps)
        gain = gain_at(call, len(scheduler.timesteps))
        if gain == 0:
            return output
        clean, slope = expected(scheduler, call, output.float(), sample.float())
        grid = LatentGrid.of(self._pipeline, clean, self._width, self._height)
        paint = self._paint.of(self._pipeline, grid)
        cells = grid.spread(clean, self._height // grid.cell, self._width // grid.cell)
        changes = [
            torch.zeros_like(own) if recoloring is None else _change(paint, own, recoloring, anew=progress <= _PARTED)
            for own, recoloring in zip(cells, self._recolorings, strict=True)
        ]
        return (output + slope * gain * grid.as_kept(torch.stack(changes))).to(output.dtype)


def gain_at(call: int, calls: int) -> float:
    """Return how far colours are moved, 0–1, at denoiser call `call`, counted from 0, of `calls`."""
    progress = call / calls
    if progress < _SEEN and calls > 1:
        return 0.0
    return min(1.0, max(0.0, (_NO_MORE - progress) / (_NO_MORE - _WHOLLY)))


def _change(paint: Paint, cells: torch.Tensor, recoloring: Recoloring, *, anew: bool) -> torch.Tensor:
    """Return by how much an image's cells (features, rows, columns) should change."""
    rows, columns = cells.shape[1:]
    scale = min(1.0, _SIDE / max(rows, columns))
    size = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    seen = adaptive_avg_pool2d(paint.colors(cells.permute(1, 2, 0)).permute(2, 0, 1), size)
    picture = seen.permute(1, 2, 0).cpu().nan_to_num().clamp(0, 1).numpy()
    if anew:
        recoloring.part(picture)
    moved = torch.from_numpy(recoloring.moved(picture) - picture).permute(2, 0, 1).to(cells.device)
    spread = interpolate(moved[None], (rows, columns), mode="bilinear", align_corners=False)[0]
    return paint.change(spread.permute(1, 2, 0)).permute(2, 0, 1)


def expected(scheduler: Any, call: int, output: torch.Tensor, sample: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the clean latents that a denoiser's answer expects, and by how much the answer changes if they change by 1.

    Raises ValueError if the scheduler has its noise in an unknown form, or reads answers in an unknown way.
    """
    name = type(scheduler).__name__
    known = mix(scheduler, call)
    if known is None:
        raise ValueError(f"{name} does not tell how much noise is left, so no image can be steered")
    a, b = known
    kind = "flow_prediction" if "FlowMatch" in name else scheduler.config.prediction_type
    match kind:
        case "epsilon":
            return (sample - b * output) / a, -a / b
        case "v_prediction":
            whole = (a**2 + b**2) ** 0.5
            return (a * sample / whole - b * output) / whole, -whole / b
        case "flow_prediction":
            return sample - b * output, -1 / b
        case "sample":
            return output, 1.0
    raise ValueError(f"{name} reads answers as {kind!r}, which is not known, so no image can be steered")
