"""Figures of pictures and of their features; pure functions of arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.output.png import Pixels

Floats = NDArray[np.floating[Any]]

#: Side in pixels of the layouts by which compositions are compared.
_LAYOUT = 16
#: The height of an edge is its climb over this many pixels. A sharp edge climbs all of it within one.
_EDGE = 6
#: The part of all places that count as edges, those of the greatest height, and the least height of an edge, 0–1.
_STRONGEST, _LEAST = 0.01, 0.08


def frechet(one: Floats, other: Floats) -> float:
    """Return the Fréchet distance of two sets of features (n, width), taken for normal distributions (Heusel et al. 2017)."""
    means = one.mean(0), other.mean(0)
    spreads = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(spreads[0] @ spreads[1]).real.clip(0))
    return float(np.square(means[0] - means[1]).sum() + np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * roots.sum())


def edge_sharpness(pixels: Pixels) -> float:
    """Return the part of a strong edge's height that it climbs within a pixel, 0–1; NaN if there is no edge."""
    luma = pixels @ np.array([0.2126, 0.7152, 0.0722]) / 255
    ratios = []
    for field in (luma, luma.T):
        climb = np.abs(np.diff(field, axis=1))
        width = climb.shape[1] - _EDGE + 1
        height = np.abs(field[:, _EDGE:] - field[:, :-_EDGE])[:, :width]
        steepest = np.max([climb[:, shift : shift + width] for shift in range(_EDGE)], axis=0)
        strong = (height >= np.quantile(height, 1 - _STRONGEST)) & (height >= _LEAST)
        ratios.append((steepest[strong] / height[strong]).clip(0, 1))
    found = np.concatenate(ratios)
    return float(np.median(found)) if len(found) else float("nan")


def layouts(pictures: Pixels) -> Floats:
    """Return the compositions (n, 256) of pictures (n, height, width, 3): light and dark places, whatever the colours."""
    rows = []
    for pixels in pictures:
        luma = np.asarray(Image.fromarray(pixels).convert("L").resize((_LAYOUT, _LAYOUT), Image.Resampling.BOX), float)
        rows.append(((luma - luma.mean()) / (luma.std() + 1.0)).ravel())
    return np.stack(rows)


def diversity(rows: Floats, groups: list[str]) -> float:
    """Return the mean distance of two layouts of one group; NaN if no group has two."""
    total, pairs = 0.0, 0
    for group in set(groups):
        members = rows[[index for index, name in enumerate(groups) if name == group]]
        distances = _distances(members, members)
        total += float(distances.sum())
        pairs += len(members) * (len(members) - 1)
    return total / pairs if pairs else float("nan")


def copied(rows: Floats, fresh: Floats, taught: Floats) -> float:
    """Return the part of the layouts `rows` that are as near to a taught one as only a twentieth of the fresh ones are.

    Mirrored layouts count as the same. A model that copies is far above a twentieth.
    """
    mirrored = taught.reshape(-1, _LAYOUT, _LAYOUT)[:, :, ::-1].reshape(taught.shape)
    known = np.concatenate([taught, mirrored])
    limit = np.quantile(_distances(fresh, known).min(1), 1 / 20)
    return float((_distances(rows, known).min(1) <= limit).mean())


def _distances(one: Floats, other: Floats) -> Floats:
    square = np.square(one).sum(1)[:, None] + np.square(other).sum(1)[None] - 2 * one @ other.T
    distances: Floats = np.sqrt(square.clip(0))
    return distances
