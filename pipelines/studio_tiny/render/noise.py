"""Random fields on a square, as arrays (side, side)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

Field = NDArray[Any]
SIDE = 768


def grid(side: int = SIDE) -> tuple[Field, Field]:
    """Return x and y of each place, 0–1, each (side, side)."""
    line = (np.arange(side, dtype=np.float32) + 0.5) / side
    x, y = np.meshgrid(line, line)
    return x, y


def smooth(rng: np.random.Generator, across: float, down: float | None = None, side: int = SIDE) -> Field:
    """Return smooth noise of about unit deviation, with this many cells across and down."""
    down = across if down is None else down
    rows, columns = max(2, round(down)) + 3, max(2, round(across)) + 3
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    left, top = 1 + rng.random(), 1 + rng.random()
    box = (left, top, min(columns - 0.5, left + across), min(rows - 0.5, top + down))
    picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC, box=box)
    return np.asarray(picture, np.float32) * 1.35


def fractal(
    rng: np.random.Generator,
    across: float,
    down: float | None = None,
    octaves: int = 5,
    gain: float = 0.5,
    side: int = SIDE,
) -> Field:
    """Return octaves of smooth noise, each twice as fine and `gain` as strong, of about unit deviation."""
    down = across if down is None else down
    total = np.zeros((side, side), np.float32)
    power = 0.0
    for octave in range(octaves):
        total += smooth(rng, across * 2**octave, down * 2**octave, side) * gain**octave
        power += gain ** (2 * octave)
    return total / power**0.5


def step(value: Field, low: float, high: float) -> Field:
    """Return 0 for values below `low`, 1 for values above `high`, and a smooth step in between."""
    part = ((value - low) / (high - low)).clip(0, 1)
    return part * part * (3 - 2 * part)


def unit(value: Field) -> Field:
    """Return the field stretched to 0–1."""
    low, high = float(value.min()), float(value.max())
    return (value - low) / max(1e-9, high - low)


def cells(points: Field) -> tuple[Field, Field, Field]:
    """Return each place's nearest point, and its distances to the nearest and the second nearest, in units of the side."""
    x, y = grid()
    distances, owners = cKDTree(points).query(np.stack([x.ravel(), y.ravel()], 1), k=2)
    return owners[:, 0].reshape(x.shape), distances[:, 0].reshape(x.shape), distances[:, 1].reshape(x.shape)
