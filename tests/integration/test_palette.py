"""Moving dominant colours onto requested ones: pictures drawn here, with edges, shading, grain and texture.

Some tests run in fresh interpreters, since the bytes may not depend on the number of threads.
"""

import os
import statistics
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from skimage.color import rgb2lab

from pipelines.colors import Rgb
from pipelines.output.measurement import evaluate
from pipelines.output.palette import LIMIT, match
from pipelines.output.png import Pixels
from tests.support.any_picture import COLORS, pictures
from tests.support.still_life import still_life

NAVY, IVORY, TERRACOTTA, SAGE, GOLD = (31, 42, 68), (243, 234, 215), (196, 98, 63), (124, 143, 110), (201, 162, 39)


def distances(one: Pixels, other: Pixels) -> NDArray[np.float64]:
    """Return the CIELAB distances of two images' pixels (height, width)."""
    apart: NDArray[np.float64] = np.linalg.norm(rgb2lab(one) - rgb2lab(other), axis=2)
    return apart


def blocks(pixels: Pixels, side: int) -> Pixels:
    """Return the means of squares, so that grain does not count."""
    height, width = pixels.shape[:2]
    means: NDArray[np.float64] = pixels.reshape(height // side, side, width // side, side, 3).mean(axis=(1, 3))
    rounded: Pixels = means.round().astype(np.uint8)
    return rounded


def test_without_colors_the_image_is_unchanged() -> None:
    picture = still_life()
    assert np.array_equal(match(picture, []), picture)


@pytest.mark.parametrize("colors", [[NAVY], [NAVY, IVORY], [TERRACOTTA, IVORY, SAGE]])
def test_every_requested_color_becomes_dominant(colors: list[Rgb]) -> None:
    before, after = (evaluate(picture, colors).palette for picture in (still_life(), match(still_life(), colors)))
    assert max(color.delta_e for color in before) > 10
    assert max(color.delta_e for color in after) <= 6
    assert min(color.share for color in after) >= 0.02


def test_an_image_that_has_the_colors_stays_as_it_is() -> None:
    matched = match(still_life(), [NAVY, IVORY])
    again = match(matched, [NAVY, IVORY])
    assert distances(matched, again).mean() < 2


@pytest.mark.parametrize("limit", [10.0, 40.0, LIMIT])
def test_no_place_moves_further_than_the_limit(limit: float) -> None:
    picture = still_life()
    moved = distances(blocks(picture, 8), blocks(match(picture, [(255, 0, 255), (0, 255, 0)], limit), 8))
    assert 0.3 * min(limit, 60) < moved.max() <= limit + 5


def test_edges_stay_where_they_are_and_nothing_spills() -> None:
    picture = still_life(grain=0)
    matched = match(picture, [NAVY, GOLD]).astype(float)
    wall, floor = matched[100, 20:60].mean(axis=0), matched[200, 20:60].mean(axis=0)
    # The floor begins at row 167: three rows from it, each side has its own colour.
    assert np.abs(matched[163, 20:60].mean(axis=0) - wall).max() < 20
    assert np.abs(matched[170, 20:60].mean(axis=0) - floor).max() < 20
    assert np.abs(wall - floor).max() > 60


def test_a_smooth_gradient_gets_no_bands() -> None:
    ramp = np.linspace(90, 190, 512)[None, :, None] + np.linspace(0, 10, 512)[:, None, None]
    picture = np.broadcast_to(ramp, (512, 512, 3)).astype(np.uint8)
    for colors in ([NAVY], [TERRACOTTA, IVORY]):
        steps = np.abs(np.diff(match(picture, colors).astype(int), axis=1))
        assert steps.max() <= 8


def test_grain_is_kept() -> None:
    quiet, grainy = still_life(grain=0), still_life(grain=4)
    corner = slice(8, 72)

    def grain(pixels: Pixels) -> float:
        return float(np.diff(pixels[corner, corner, 1].astype(float), axis=0).std())

    ratio = grain(match(grainy, [NAVY])) / grain(grainy)
    assert 0.4 < ratio < 2
    assert grain(match(quiet, [NAVY])) < 1


@settings(max_examples=15)
@given(colors=COLORS, picture=pictures(70))
def test_any_image_and_colors_give_an_image_of_its_size(colors: list[Rgb], picture: Pixels) -> None:
    original = picture.copy()
    matched = match(picture, colors)
    assert (matched.shape, matched.dtype) == (picture.shape, picture.dtype)
    assert np.array_equal(picture, original)


def test_a_flat_image_has_no_materials_and_stays_flat() -> None:
    flat = np.full((64, 64, 3), 120, np.uint8)
    assert np.array_equal(match(flat, [NAVY, IVORY]), flat)


def test_the_same_bytes_on_one_thread_and_on_four() -> None:
    program = (
        "import hashlib; from pipelines.output.palette import match; from tests.support.still_life import still_life;"
        "print(hashlib.sha256(match(still_life(), [(31, 42, 68), (243, 234, 215)]).tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(digests) == 1


def test_random_colors_are_reached_in_the_median() -> None:
    random = np.random.default_rng(11)
    before, after = [], []
    for index in range(15):
        colors: list[Rgb] = [tuple(color) for color in random.integers(0, 256, (1 + index % 3, 3)).tolist()]
        before += [color.delta_e for color in evaluate(still_life(), colors).palette]
        after += [color.delta_e for color in evaluate(match(still_life(), colors), colors).palette]
    assert statistics.median(before) > 15
    assert statistics.median(after) <= 2


def test_random_colors_are_reached_in_a_picture_that_is_all_texture() -> None:
    random = np.random.default_rng(3)
    after = []
    for index in range(8):
        colors: list[Rgb] = [tuple(color) for color in random.integers(0, 256, (1 + index % 3, 3)).tolist()]
        spots = random.normal(0, 45, (24, 24, 3)).repeat(10, axis=0).repeat(10, axis=1)
        texture = (
            (random.integers(70, 180, 3) + spots + random.normal(0, 12, spots.shape)).clip(0, 255).astype(np.uint8)
        )
        after += [color.delta_e for color in evaluate(match(texture, colors), colors).palette]
    assert statistics.median(after) <= 2
