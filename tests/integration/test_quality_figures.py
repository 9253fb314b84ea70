"""The figures of `./scripts/bench quality`, on pictures and features whose figures are known."""

import math

import numpy as np
import pytest
from benchmarks.quality import figures
from scipy.ndimage import gaussian_filter

from pipelines.output.png import Pixels


def disc(x: float, y: float, radius: float = 20.0, blur: float = 0.0) -> Pixels:
    """Return a white disc on black (128, 128, 3)."""
    down, across = np.mgrid[0:128, 0:128]
    light = (np.hypot(across - x, down - y) < radius) * 255.0
    if blur:
        light = gaussian_filter(light, blur)
    return np.repeat(light[..., None], 3, axis=2).astype(np.uint8)


def test_the_frechet_distance_is_nothing_to_itself_and_a_shift_squared() -> None:
    features = np.random.default_rng(0).standard_normal((400, 8))
    assert figures.frechet(features, features) == pytest.approx(0, abs=1e-6)
    assert figures.frechet(features, features + 0.5) == pytest.approx(8 * 0.25, abs=1e-6)
    assert figures.frechet(features, features * 2) > 1


def test_a_blurred_edge_is_less_sharp() -> None:
    sharpness = [figures.edge_sharpness(disc(64, 64, blur=blur)) for blur in (0, 1, 2)]
    assert sharpness[0] == pytest.approx(1, abs=0.02)
    assert sharpness[0] > sharpness[1] > sharpness[2]
    assert math.isnan(figures.edge_sharpness(np.full((64, 64, 3), 90, np.uint8)))


def test_the_same_layout_in_other_colours_has_no_diversity() -> None:
    same = figures.layouts(np.stack([disc(40, 64), disc(40, 64) // 2 + 60]))
    other = figures.layouts(np.stack([disc(40, 64), disc(90, 64)]))
    assert figures.diversity(same, ["podium"] * 2) < 0.5
    assert figures.diversity(other, ["podium"] * 2) > 10
    # The figure compares no pictures of different scenes.
    assert math.isnan(figures.diversity(other, ["podium", "niche"]))


def test_copies_are_found_mirrored_ones_too() -> None:
    rng = np.random.default_rng(3)

    def some(count: int) -> list[Pixels]:
        places, radii = rng.uniform(20, 108, (count, 2)), rng.uniform(8, 40, count)
        return [disc(x, y, radius) for (x, y), radius in zip(places, radii, strict=True)]

    pictures = some(300)
    taught, fresh = figures.layouts(np.stack(pictures)), figures.layouts(np.stack(some(200)))
    mirrored = figures.layouts(np.stack([pixels[:, ::-1] for pixels in pictures[:50]]))
    assert figures.copied(mirrored, fresh, taught) == 1
    assert figures.copied(figures.layouts(np.stack(some(200))), fresh, taught) < 0.15
