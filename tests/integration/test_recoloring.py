"""Moving the materials of a small picture to requested colours, again and again."""

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from skimage.color import rgb2lab

from pipelines.colors import Rgb
from pipelines.denoising.recoloring import Recoloring
from pipelines.output.materials import Floats
from pipelines.output.measurement import evaluate
from pipelines.output.png import Pixels
from tests.support.any_picture import COLORS, pictures
from tests.support.still_life import still_life

NAVY, IVORY, TERRACOTTA = (31, 42, 68), (243, 234, 215), (196, 98, 63)


def small() -> Floats:
    """Return a still life of 32 × 32 pixels."""
    copy = Image.fromarray(still_life()).resize((32, 32), Image.Resampling.BOX)
    return np.asarray(copy).astype(np.float32) / np.float32(255)


def missed(picture: Floats, colors: list[Rgb]) -> float:
    """Return how far the worst of the colours is from the nearest dominant one."""
    pixels = (picture * 255).round().astype(np.uint8)
    return max(color.delta_e for color in evaluate(pixels, colors).palette)


@pytest.mark.parametrize("colors", [[NAVY], [NAVY, IVORY], [TERRACOTTA, IVORY, NAVY]])
def test_every_color_is_met_by_a_material(colors: list[Rgb]) -> None:
    picture, recoloring = small(), Recoloring(colors)
    recoloring.part(picture)
    assert missed(recoloring.moved(picture), colors) < 0.6 * missed(picture, colors)


def test_what_has_its_color_stays_as_it_is() -> None:
    recoloring = Recoloring([NAVY, IVORY])
    recoloring.part(small())
    once = recoloring.moved(small())
    twice = recoloring.moved(once)
    assert np.linalg.norm(rgb2lab(once) - rgb2lab(twice), axis=2).mean() < 2


def test_a_material_keeps_its_color_when_the_picture_is_parted_anew() -> None:
    recoloring = Recoloring([NAVY, IVORY])
    recoloring.part(small())
    once = recoloring.moved(small())
    recoloring.part(once)
    again = recoloring.moved(once)
    assert np.linalg.norm(rgb2lab(once) - rgb2lab(again), axis=2).mean() < 8


def test_before_it_is_parted_a_picture_stays_as_it_is() -> None:
    np.testing.assert_allclose(Recoloring([NAVY]).moved(small()), small(), atol=1e-3)


def test_light_is_kept_within_a_material() -> None:
    ramp = np.linspace(0.3, 0.7, 32, dtype=np.float32)
    picture = np.broadcast_to(ramp[None, :, None], (32, 32, 3)).copy()
    recoloring = Recoloring([TERRACOTTA])
    recoloring.part(picture)
    lightness = rgb2lab(recoloring.moved(picture))[0, :, 0]
    assert (np.diff(lightness) > 0).mean() > 0.9
    assert np.diff(lightness).max() < 8


@settings(max_examples=15)
@given(colors=COLORS, pixels=pictures(40))
def test_any_picture_and_colors_give_a_picture_of_its_size(colors: list[Rgb], pixels: Pixels) -> None:
    picture = (pixels / 255).astype(np.float32)
    recoloring = Recoloring(colors)
    for _ in range(2):
        recoloring.part(picture)
        moved = recoloring.moved(picture)
        assert moved.shape == picture.shape
        assert moved.dtype == np.float32
        assert np.isfinite(moved).all()
        assert 0 <= moved.min() <= moved.max() <= 1
