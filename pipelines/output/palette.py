"""The match of a finished image's dominant colours to the requested ones.

1. A small copy of the image is divided into materials; see `materials`.
2. Each requested colour gets a material, by optimal assignment: a near colour costs little, and too small an area costs much.
   The other materials keep their colours, unless they are most of the image.
3. A material takes its new colour and keeps its shading: light scales a colour, in CIELAB, towards black.
4. The colours are aimed again, and shading is flattened a little, until the dominant colours, as `measurement` finds them,
   are the requested ones.
5. The small result is carried over to the full image as an affine map of colour for every place, so edges and grain stay
   (the guided filter of He, Sun and Tang, 2010; bilateral guided upsampling by Chen, Adams, Wadhwa and Hasinoff, 2016).

The same pixels and colours give the same bytes, on any number of threads. Torch is not imported; see `image_writer`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter
from skimage.color import deltaE_ciede2000, rgb2lab

from pipelines.colors import Rgb
from pipelines.output.materials import Floats, Labels, Materials, rgb_of
from pipelines.output.measurement import dominant_colors
from pipelines.output.png import Pixels

#: The furthest that a place of the image may move, in CIELAB units. White to pure blue is 150, white to navy 95.
LIMIT = 120.0

#: The longest side of the small copy.
_SIDE = 96
#: A requested colour is there if a dominant one is this near, in CIEDE2000.
_THERE = 1.0
#: Dominant colours are found in this many samples of the small copy, each with every fifth pixel.
_SAMPLES, _SAMPLED = 3, 5
#: How often the colours are aimed at most. Most images need few; one that is all texture needs many.
_AIMS = 12
#: How far an aim moves at once, in CIELAB units.
_CORRECTION = 8.0
#: The least part of its shading that a material keeps.
_FLATTEST = 0.33
#: The weight of the mean of a colour's materials, beside its nearest dominant colour, when results are compared.
_WHOLE = 0.3

#: The radius of the guided filter in pixels of the small copy, and the contrast (0–1) that counts as an edge.
_RADIUS = 3
_CONTRAST = 0.02
#: About the most by which grain gets stronger at a soft border between two materials.
_STEEPEST = 6.0


def match(pixels: Pixels, colors: Sequence[Rgb], limit: float = LIMIT) -> Pixels:
    """Return the image (height, width, 3) with its dominant colours moved onto `colors`.

    No place moves further than `limit` (CIELAB units), but grain of single pixels may. An image is returned as it is if it
    has the colours already, if it is one flat colour, or if no colours are given.
    """
    if not colors:
        return pixels
    small = _small_copy(pixels)
    if (small == small[0, 0]).all():
        return pixels
    lab = rgb2lab(small).astype(np.float32)
    wanted = rgb2lab(np.array([colors], dtype=np.uint8))[0].astype(np.float32)
    if _gaps(lab, wanted)[0].max() <= _THERE:
        return pixels
    materials = Materials.of(lab, len(colors))
    targets = materials.assigned(wanted)
    guide = _Guide(small)
    shares = guide.smoothed(materials.shares()).clip(0, None)
    shares /= shares.sum(axis=2, keepdims=True)
    return guide.carried_over(pixels, _aimed(guide, lab, shares, materials.means, targets, wanted, limit))


def _small_copy(pixels: Pixels) -> Floats:
    height, width = pixels.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(pixels, "RGB").resize(size, Image.Resampling.BOX)
    return np.asarray(small).astype(np.float32) / np.float32(255)


def _gaps(lab: Floats, wanted: Floats) -> tuple[NDArray[np.float64], Floats]:
    """Return each wanted colour's CIEDE2000 distance (n,) to the nearest dominant one, and that one (n, 3).

    Which colours dominate depends on the starting points of k-means. So it runs on several samples of the pixels, and the
    worst distance counts.
    """
    flat, each = lab.reshape(-1, 3), np.arange(len(wanted))
    found = [dominant_colors(flat[part::_SAMPLED])[0] for part in range(min(_SAMPLES, len(flat)))]
    distances = [deltaE_ciede2000(wanted[:, None], dominant[None]) for dominant in found]
    gaps = np.stack([distance.min(axis=1) for distance in distances])
    nearest = np.stack([dominant[distance.argmin(axis=1)] for dominant, distance in zip(found, distances, strict=True)])
    worst = gaps.argmax(axis=0)
    return gaps[worst, each], nearest[worst, each].astype(np.float32)


# Colours --------------------------------------------------------------------------------------------------------------


def _aimed(
    guide: "_Guide",
    lab: Floats,
    shares: Floats,
    means: NDArray[np.float64],
    targets: Labels,
    wanted: Floats,
    limit: float,
) -> Floats:
    """Return the affine maps (height, width, 4, 3) that bring the dominant colours nearest to the wanted ones."""
    aims, contrast = wanted.copy(), np.ones(len(wanted), dtype=np.float32)
    whole = np.stack([shares[..., targets == color].sum(axis=2) for color in range(len(wanted))])
    whole /= whole.sum(axis=(1, 2), keepdims=True)
    best, least = np.zeros((*lab.shape[:2], 4, 3), dtype=np.float32), np.inf
    for _ in range(_AIMS):
        moved = _recolored(lab, shares, means, targets, aims, contrast, limit)
        maps = guide.fitted(rgb_of(moved) - guide.image)
        shown = rgb2lab((guide.image + guide.applied(maps)).clip(0, 1)).astype(np.float32)
        gaps, nearest = _gaps(shown, wanted)
        # A dominant colour may be that of a shadow alone. If two results are equally near by it, the one whose materials are
        # nearer as a whole is better.
        astray = deltaE_ciede2000(np.tensordot(whole, shown, 2), wanted)
        missed = (np.maximum(gaps, _THERE) + _WHOLE * astray).sum()
        if missed < least:
            best, least = maps, missed
        if gaps.max() <= _THERE:
            break
        aims += (wanted - nearest).clip(-_CORRECTION, _CORRECTION)
        contrast[gaps > 2 * _THERE] *= 0.8
        contrast = contrast.clip(_FLATTEST, None)
    return best


def _recolored(
    lab: Floats,
    shares: Floats,
    means: NDArray[np.float64],
    targets: Labels,
    aims: Floats,
    contrast: Floats,
    limit: float,
) -> Floats:
    """Return the colours in CIELAB (height, width, 3) after each material's mean has moved onto its aim.

    L* + 16 stands for light: light on a surface scales it, and scales a* and b* with it.
    """
    light = lab[..., :1] + 16
    shift = np.zeros_like(lab)
    for material in np.flatnonzero(targets >= 0):
        flat = contrast[targets[material]]
        aim, mean = aims[targets[material]], means[material].astype(np.float32)
        aim_light, mean_light = aim[0] + 16, mean[0] + 16
        change = (light - mean_light) * flat * np.clip(aim_light / mean_light, 0.5, 1.0)
        new_light = aim_light + _in_range(change, aim_light)
        own_tint = lab[..., 1:] - light / mean_light * mean[1:]
        new_tint = new_light / aim_light * aim[1:] + 0.5 * flat * own_tint
        shift += shares[..., material, None] * (np.dstack([new_light - 16, new_tint]) - lab)
    length = np.linalg.norm(shift, axis=2, keepdims=True)
    moved: Floats = lab + shift * np.minimum(1, limit / np.maximum(length, 1e-6))
    return moved


def _in_range(change: Floats, light: np.float32) -> Floats:
    """Bend changes of light so that they end softly near black (16) and white (116)."""
    room = np.maximum(np.where(change > 0, 116 - light, light - 16), 1e-3)
    bent: Floats = change / (1 + np.abs(change) / (2 * room))
    return bent


# From the small copy to the full image --------------------------------------------------------------------------------


class _Guide:
    """The guided filter with the small copy (height, width, 3; 0–1) as its guide."""

    def __init__(self, image: Floats) -> None:
        self.image = image
        self._mean = _box(image)
        covariance = (
            _box(image[..., :, None] * image[..., None, :]) - self._mean[..., :, None] * self._mean[..., None, :]
        )
        self._inverse = np.linalg.inv(covariance + _CONTRAST**2 * np.eye(3, dtype=np.float32))

    def fitted(self, values: Floats) -> Floats:
        """Return the affine map of colour for every place (height, width, 4, n): three slopes and an offset."""
        mean = _box(values)
        slopes = self._inverse @ (
            _box(self.image[..., :, None] * values[..., None, :]) - self._mean[..., :, None] * mean[..., None, :]
        )
        steepness = np.linalg.norm(slopes, axis=(2, 3), keepdims=True)
        slopes *= np.minimum(1, _STEEPEST / np.maximum(steepness, 1e-6))
        offset = mean[..., None, :] - self._mean[..., None, :] @ slopes
        return _box(np.concatenate([slopes, offset], axis=2))

    def applied(self, maps: Floats) -> Floats:
        return (self.image[..., None, :] @ maps[..., :3, :] + maps[..., 3:, :])[..., 0, :]

    def smoothed(self, values: Floats) -> Floats:
        """Smooth values (height, width, n), except over the guide's edges."""
        return self.applied(self.fitted(values))

    def carried_over(self, pixels: Pixels, maps: Floats) -> Pixels:
        """Return the full image with the changes that the maps of the small copy say."""
        height, width = pixels.shape[:2]

        def full(plane: Floats) -> Floats:
            return np.asarray(
                Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), Image.Resampling.BILINEAR)
            )

        sources = [pixels[..., channel].astype(np.float32) for channel in range(3)]
        result = np.empty_like(pixels)
        for channel in range(3):
            value = sources[channel] + full(maps[..., 3, channel] * 255)
            for index, source in enumerate(sources):
                value += source * full(maps[..., index, channel])
            result[..., channel] = (value + 0.5).clip(0, 255)
        return result


def _box(values: Floats) -> Floats:
    """Return the means of squares around every pixel; the first two axes are the image's."""
    planes = values.reshape(*values.shape[:2], -1)
    side = 2 * _RADIUS + 1
    means: Floats = uniform_filter(planes, (side, side, 1), mode="nearest").reshape(values.shape)
    return means
