"""What can be said of a picture in 444 numbers: its light, its colours, its lines at four scales."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.quality.renders import SIDE
from pipelines.output.png import Pixels
from pipelines.studio_tiny.render.colour import to_linear, to_oklab

_LINEAR = to_linear(np.arange(256) / 255).astype(np.float32)
#: Deviations of the blur, in pixels.
_SCALES = (0.7, 1.5, 3.0, 6.0)
_DIRECTIONS = 8
#: Squares of the grid, along a side.
_GRID = 8
_RINGS = 6


def describe(pixels: Pixels) -> NDArray[np.float32]:
    """Return the descriptors (444,) of a picture (SIDE, SIDE, 3), each of the order of 1."""
    lab = to_oklab(_LINEAR[pixels]).astype(np.float32)
    light, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    cell = SIDE // _GRID
    squares = lab.reshape(_GRID, cell, _GRID, cell, 3)
    parts: list[Any] = [
        squares.mean((1, 3)),
        3 * squares[..., 0].std((1, 3)),
        np.quantile(light, (0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1)),
        3 * np.quantile(chroma, (0.02, 0.25, 0.5, 0.75, 0.98)),
        _rings(light),
    ]
    for scale in _SCALES:
        parts += _lines(light, scale)
    described: NDArray[np.float32] = np.concatenate([np.ravel(part) for part in parts]).astype(np.float32)
    return described


def worn(pixels: Pixels, side: int) -> Pixels:
    """Return the picture mirrored and blurred, as if it had been `side` pixels wide."""
    small = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BILINEAR))[:, ::-1]


def _rings(light: NDArray[Any]) -> NDArray[Any]:
    """Return how much lighter each ring around the middle is than the whole; a vignette darkens the outer ones."""
    down, across = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2
    ring = (np.hypot(across, down) / 15).astype(int).clip(0, _RINGS - 1).ravel()
    lighter: NDArray[Any] = (
        np.bincount(ring, light.ravel(), _RINGS) / np.bincount(ring, minlength=_RINGS) - light.mean()
    )
    return lighter


def _lines(light: NDArray[Any], scale: float) -> list[Any]:
    """Return the directions of lines in three bands of the picture, which side is lighter, their strengths, and the grain."""
    smooth = gaussian_filter(light, scale)
    down, across = np.gradient(smooth)
    strength = np.hypot(across, down) * scale
    total = strength.sum() + 1e-3
    angle = np.arctan2(down, across)
    line = (angle % np.pi / np.pi * _DIRECTIONS).astype(int) % _DIRECTIONS
    side = ((angle + np.pi) / (2 * np.pi) * _DIRECTIONS).astype(int) % _DIRECTIONS

    def shares(of: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = np.sqrt(np.bincount(of.ravel(), weights.ravel(), _DIRECTIONS) / total)
        return found

    bands = np.array_split(np.arange(SIDE), 3)
    grain = light - smooth
    return [
        *(shares(line[band], strength[band]) for band in bands),
        np.log(np.quantile(strength, (0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.995)) + 1e-3) / 3,
        shares(side, strength),
        np.log(grain.std() + 1e-3) / 2,
        ((grain**4).mean() / (grain.var() ** 2 + 1e-9)) ** 0.25 / 2,
        (grain**3).mean() / (grain.std() ** 3 + 1e-6) / 3,
    ]
