"""Move a finished image's dominant colours onto the requested ones.

1. A small copy of the image is parted into materials. A lit wall and its shadow are one material; a white plinth before a
   grey wall is another.
2. Each requested colour gets a material, by optimal assignment: a short way in CIELAB is cheap, too small an area is dear.
   Materials left over keep their colours, unless they are most of the image.
3. A material takes its new colour and keeps its shading: light scales a colour, in CIELAB, towards black.
4. The colours are aimed again, and shading is flattened a little, until the dominant colours, as `evaluation` finds them,
   are the requested ones.
5. The small result is carried over to the full image as an affine map of colour for every place, so edges and grain stay
   (the guided filter of He, Sun and Tang, 2010; bilateral guided upsampling by Chen, Adams, Wadhwa and Hasinoff, 2016).

The same pixels and colours give the same bytes, on any number of threads. Without torch: see `image_writer`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.optimize import linear_sum_assignment
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab
from skimage.segmentation import felzenszwalb

from pipelines.colors import Rgb
from pipelines.output.measurement import dominant_colors, k_means
from pipelines.output.png import Pixels

Floats = NDArray[np.float32]
Labels = NDArray[np.intp]

#: The furthest that a place of the image may move, in CIELAB units. White to pure blue is 150, white to navy 95.
LIMIT = 120.0

#: The longest side of the small copy.
_SIDE = 96
#: A colour is there if a dominant one is so near, in CIEDE2000.
_THERE = 1.0
#: Dominant colours are looked for in so many samples of the small copy, each of every fifth pixel.
_SAMPLES, _SAMPLED = 3, 5
#: How often the colours are aimed, at most, and how far an aim moves at once, in CIELAB units.
_AIMS = 6
_CORRECTION = 8.0
#: What the mean of a colour's materials counts, beside its nearest dominant colour, when results are compared.
_WHOLE = 0.3

#: Shades that a region may be parted into, and the groups of them that are looked at beyond the number of colours.
_SHADES = 8
_SPARE = 8
#: What counts when shades are grouped: the lightness of their region, their own colour, and their place (0–1).
_REGION_LIGHTNESS = 0.5
_OWN = 0.12
_PLACE = 8.0
#: Groups are one material if their colours, brought to one lightness, are nearer than this. Lightness counts a little.
_ALIKE = 12.0
_LIGHTNESS = 0.15
#: An edge this many pixels wide is soft if colour changes over it by less than `_ALIKE / _EDGE`.
_EDGE_WIDTH = 3
_EDGE = 2.5
#: A material of this share of the area is large enough for a colour.
_LARGE = 0.1
#: What a missing share of area costs: a whole image as much as `sqrt(3)` times the way from black to white.
_AREA = 3.0
#: Materials without a requested colour keep theirs up to this share of the area.
_KEPT = 0.55

#: Of the guided filter: pixels of the small copy to each side, and the contrast (of 1) that counts as an edge.
_RADIUS = 3
_CONTRAST = 0.02
#: Grain is made stronger by no more than about this, where a soft border between two materials runs through it.
_STEEPEST = 6.0


def match(pixels: Pixels, colors: Sequence[Rgb], limit: float = LIMIT) -> Pixels:
    """Return the image (height, width, 3) with its dominant colours moved onto `colors`.

    No place moves further than `limit` (CIELAB units); grain of single pixels rides on that. An image is returned as it is
    if it has the colours already, if it is one flat colour, or if no colours are given.
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
    regions = felzenszwalb(lab * np.array([0.006, 0.01, 0.01], dtype=np.float32), scale=30, sigma=0.6, min_size=14)
    placed = _placed(lab)
    labels = _materials(placed, regions, len(colors))
    means, areas = _means(lab, labels), np.bincount(labels.ravel()) / labels.size
    targets = _assigned(means, areas, wanted)
    guide = _Guide(small)
    shares = guide.smoothed(_shares(placed, regions, labels)).clip(0, None)
    shares /= shares.sum(axis=2, keepdims=True)
    return guide.carried_over(pixels, _aimed(guide, lab, shares, means, targets, wanted, limit))


def _small_copy(pixels: Pixels) -> Floats:
    height, width = pixels.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(pixels, "RGB").resize(size, Image.Resampling.BOX)
    return np.asarray(small).astype(np.float32) / np.float32(255)


def _gaps(lab: Floats, wanted: Floats) -> tuple[NDArray[np.float64], Floats]:
    """Return each wanted colour's CIEDE2000 distance (n,) to the nearest dominant one, and that one (n, 3).

    Which colours dominate depends on where k-means starts. So it runs on several samples of the pixels, and the worst
    distance counts.
    """
    flat, each = lab.reshape(-1, 3), np.arange(len(wanted))
    found = [dominant_colors(flat[part::_SAMPLED])[0] for part in range(min(_SAMPLES, len(flat)))]
    distances = [deltaE_ciede2000(wanted[:, None], dominant[None]) for dominant in found]
    gaps = np.stack([distance.min(axis=1) for distance in distances])
    nearest = np.stack([dominant[distance.argmin(axis=1)] for dominant, distance in zip(found, distances, strict=True)])
    worst = gaps.argmax(axis=0)
    return gaps[worst, each], nearest[worst, each].astype(np.float32)


# Materials ------------------------------------------------------------------------------------------------------------


def _placed(lab: Floats) -> Floats:
    """Put each pixel's place behind its colour: L*, a*, b*, row, column (height, width, 5)."""
    height, width = lab.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width] * np.float32(_PLACE / max(height, width))
    return np.dstack([lab, rows, columns])


def _materials(placed: Floats, regions: Labels, count: int) -> Labels:
    """Label the pixels (height, width) by material: at least `count` large ones if shades can be told apart."""
    lab, own = placed[..., :3], placed.reshape(-1, 5)
    _, shades = k_means(own, _SHADES, 6)
    _, units = np.unique(regions.ravel() * _SHADES + shades, return_inverse=True)
    of_region = _means(lab, regions)[regions.ravel()] * (_REGION_LIGHTNESS, 1, 1)
    features = _means(np.hstack([of_region, own * _OWN]), units)
    groups = _grouped(features, np.bincount(units) / units.size, count + _SPARE)[units].reshape(regions.shape)
    return _joined(lab, groups, count)


def _means(values: NDArray[np.floating], labels: Labels) -> NDArray[np.float64]:
    """Return the mean of the values (…, n) under each label (labels, n)."""
    flat, labels = values.reshape(-1, values.shape[-1]), labels.ravel()
    sums = np.stack([np.bincount(labels, flat[:, index]) for index in range(flat.shape[1])], axis=1)
    means: NDArray[np.float64] = sums / np.bincount(labels)[:, None]
    return means


def _grouped(features: NDArray[np.float64], areas: NDArray[np.float64], count: int) -> Labels:
    """Group weighted points (n, features) into `count` by Ward's criterion (1963); return each one's group (n,)."""
    features, areas = features.copy(), areas.copy()
    group = np.arange(len(areas))

    def costs(index: int) -> NDArray[np.float64]:
        distances = ((features[index] - features) ** 2).sum(axis=1)
        joint: NDArray[np.float64] = areas[index] * areas / (areas[index] + areas) * distances
        return joint

    cost = np.stack([costs(index) for index in range(len(areas))])
    np.fill_diagonal(cost, np.inf)
    for _ in range(len(areas) - count):
        one, other = np.unravel_index(cost.argmin(), cost.shape)
        area = areas[one] + areas[other]
        features[one] = (areas[one] * features[one] + areas[other] * features[other]) / area
        areas[one] = area
        group[group == other] = one
        cost[other], cost[:, other] = np.inf, np.inf
        cost[one] = np.where(np.isinf(cost[one]), np.inf, costs(int(one)))
        cost[:, one] = cost[one]
    return np.unique(group, return_inverse=True)[1]


def _joined(lab: Floats, groups: Labels, count: int) -> Labels:
    """Join groups that are one material in other light, the most alike first, while `count` large ones are left."""
    areas = np.bincount(groups.ravel()) / groups.size
    means = _means(lab, groups)
    apart = np.minimum(_apart(means), _EDGE * _edges(lab, groups, len(areas)))
    material = np.arange(len(areas))
    ones, others = np.triu_indices(len(areas), 1)
    for pair in np.argsort(apart[ones, others], kind="stable"):
        one, other = material[ones[pair]], material[others[pair]]
        if apart[ones[pair], others[pair]] >= _ALIKE or len(np.unique(material)) <= count:
            break
        large = np.bincount(material, areas, len(areas)) >= _LARGE
        if large[one] and large[other]:
            both = [material == one, material == other]
            bridged = min(areas[ones[pair]], areas[others[pair]]) < _LARGE and (
                _apart(np.stack([np.average(means[some], axis=0, weights=areas[some]) for some in both]))[0, 1]
                >= _ALIKE
            )
            if bridged or large.sum() <= count:
                continue
        material[material == other] = one
    return np.unique(material, return_inverse=True)[1][groups]


def _apart(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far apart colours (n, 3) are if both are seen in the same light (n, n)."""
    light = means[:, :1] + 16
    rays = means[:, 1:] / light
    tint = np.linalg.norm(rays[:, None] - rays, axis=2) * np.minimum(light, light.T)
    apart: NDArray[np.float64] = np.hypot(tint, _LIGHTNESS * (light - light.T))
    return apart


def _edges(lab: Floats, groups: Labels, count: int) -> NDArray[np.float64]:
    """Return how much colour changes across the border of each two groups (count, count); inf if they hardly touch."""
    change, length = np.zeros((count, count)), np.zeros((count, count))
    for axis in (0, 1):
        colors, places = np.moveaxis(lab, axis, 0), np.moveaxis(groups, axis, 0)
        pairs = (places[:-_EDGE_WIDTH] * count + places[_EDGE_WIDTH:]).ravel()
        steps = np.linalg.norm(colors[:-_EDGE_WIDTH] - colors[_EDGE_WIDTH:], axis=2).ravel()
        change += np.bincount(pairs, steps, count * count).reshape(count, count)
        length += np.bincount(pairs, minlength=count * count).reshape(count, count)
    change, length = change + change.T, length + length.T
    return np.where(length >= _SIDE / 3, change / np.maximum(length, 1), np.inf)


def _assigned(means: NDArray[np.float64], areas: NDArray[np.float64], wanted: Floats) -> Labels:
    """Return the index of each material's wanted colour, or -1 if it keeps its own; every colour gets one material.

    The first colour's fair share of the area is half as much again as that of another.
    """
    fair = np.full(len(wanted), 1.0)
    fair[0] = 1.5
    fair /= fair.sum()
    cost = ((means[:, None] - wanted) ** 2 * (0.5, 1, 1)).sum(axis=2) / 100**2
    cost += _AREA * np.maximum(0, fair - areas[:, None]) ** 2
    materials, colors = linear_sum_assignment(cost)
    targets = np.full(len(areas), -1)
    targets[materials] = colors
    kept = 0.0
    for material in sorted(np.flatnonzero(targets < 0), key=lambda index: areas[index]):
        kept += areas[material]
        if kept > _KEPT:
            nearest = ((means[materials] - means[material]) ** 2).sum(axis=1).argmin()
            targets[material] = colors[nearest]
    return targets


def _shares(placed: Floats, regions: Labels, labels: Labels) -> Floats:
    """Return every material's share in every pixel (height, width, materials).

    If a region has several materials, no edge parts them: a pixel has a share of each by its colour and place.
    """
    count = labels.max() + 1
    sizes = np.bincount((regions * count + labels).ravel(), minlength=(regions.max() + 1) * count).reshape(-1, count)
    shares = np.zeros((*labels.shape, count), dtype=np.float32)
    for region, size in enumerate(sizes):
        inside = regions == region
        present = np.flatnonzero((size > 0.05 * size.sum()) | (size > 0.1 * sizes.sum(axis=0)))
        if len(present) == 1:
            shares[inside, present[0]] = 1
            continue
        colors, own = placed[inside], labels[inside]
        centres = np.stack([colors[own == material].mean(axis=0) for material in present])
        between = ((centres[:, None] - centres) ** 2).sum(axis=2)[np.triu_indices(len(present), 1)]
        spread = 0.3**2 * between.min() + 1e-3
        distances = ((colors[:, None] - centres) ** 2).sum(axis=2)
        distances -= distances.min(axis=1, keepdims=True)
        likely = np.zeros((len(colors), count), dtype=np.float32)
        likely[:, present] = size[present] * np.exp(-distances / (2 * spread))
        shares[inside] = likely / likely.sum(axis=1, keepdims=True)
    return shares


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
        maps = guide.fitted(_rgb(moved) - guide.image)
        shown = rgb2lab((guide.image + guide.applied(maps)).clip(0, 1)).astype(np.float32)
        gaps, nearest = _gaps(shown, wanted)
        # A dominant colour may be that of a shadow alone: of two results as near, the one that is near as a whole is better.
        astray = deltaE_ciede2000(np.tensordot(whole, shown, 2), wanted)
        missed = (np.maximum(gaps, _THERE) + _WHOLE * astray).sum()
        if missed < least:
            best, least = maps, missed
        if gaps.max() <= _THERE:
            break
        aims += (wanted - nearest).clip(-_CORRECTION, _CORRECTION)
        contrast[gaps > 2 * _THERE] *= 0.8
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
    """Move each material's mean onto its aim; return the new colours in CIELAB (height, width, 3).

    L* + 16 stands for light: light on a surface scales it, and a* and b* with it.
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


def _rgb(lab: Floats) -> Floats:
    """Return sRGB (0–1); what lies outside is clipped."""
    lightness = lab[..., 0].clip(0, 100)
    # Beyond this, Z would be negative, and scikit-image would warn of it.
    blue_yellow = np.minimum(lab[..., 2], (lightness + 16) * (200 / 116) - 1e-3)
    rgb: Floats = lab2rgb(np.dstack([lightness, lab[..., 1], blue_yellow])).astype(np.float32)
    return rgb


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
        """Return the map of colour for every place (height, width, 4, n): three slopes and an offset."""
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
        """Smooth values (height, width, n) but for the guide's edges."""
        return self.applied(self.fitted(values))

    def carried_over(self, pixels: Pixels, maps: Floats) -> Pixels:
        """Add to the full image what the maps of the small one say."""
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
