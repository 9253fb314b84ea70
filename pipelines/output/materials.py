"""Materials: the parts of a picture, each of which may get a requested colour.

A lit wall and its shadow are one material; a white plinth before a grey wall is another. Pictures are small, of some thousand
pixels. The results are the same on any number of threads. Torch is not imported; see `image_writer`.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from skimage.color import lab2rgb
from skimage.segmentation import felzenszwalb

from pipelines.output.measurement import k_means

Floats = NDArray[np.float32]
Labels = NDArray[np.intp]

#: How many shades the pixels are sorted into, and how many groups of them are kept beyond the number of colours.
_SHADES = 8
_SPARE = 8
#: Weights when shades are grouped: of their region's lightness, of their own colour and place, and of place against colour.
_REGION_LIGHTNESS = 0.5
_OWN = 0.12
_PLACE = 8.0
#: Groups are one material if their colours, seen in the same light, are nearer than this in CIELAB units.
_ALIKE = 12.0
#: How much a difference of light counts beside one of colour.
_LIGHTNESS = 0.15
#: Groups are also one material if their colours change by less than `_ALIKE / _EDGE` over this many pixels at their border.
_EDGE_WIDTH = 3
_EDGE = 2.5
#: A material is large enough for a colour if it has this share of the area.
_LARGE = 0.1
#: The cost of an area that is too small by a whole image; it grows with the square of what is missing.
_AREA = 3.0
#: Materials without a requested colour keep theirs up to this share of the area.
_KEPT = 0.55

#: The border of two groups counts only if they touch along this many pixels.
_LEAST_EDGE = 32


class Materials(msgspec.Struct, frozen=True):
    """The materials of a picture."""

    #: L*, a*, b*, row, column of each pixel (height, width, 5).
    placed: Floats
    #: The region of each pixel, which is an area without an edge in it, and its material (height, width).
    regions: Labels
    labels: Labels
    #: The colour of each material (n, 3; CIELAB), and its share of the area (n,).
    means: NDArray[np.float64]
    areas: NDArray[np.float64]

    @classmethod
    def of(cls, lab: Floats, count: int) -> "Materials":
        """Return the materials of a picture (height, width, 3; CIELAB): at least `count` large ones if its shades allow."""
        regions = felzenszwalb(lab * np.array([0.006, 0.01, 0.01], dtype=np.float32), scale=30, sigma=0.6, min_size=14)
        placed = _placed(lab)
        labels = _materials(placed, regions, count)
        return cls(placed, regions, labels, _means(lab, labels), np.bincount(labels.ravel()) / labels.size)

    def assigned(self, wanted: Floats, rebate: NDArray[np.float64] | float = 0.0) -> Labels:
        """Return the index of each material's wanted colour, or -1 if the material keeps its own.

        Every colour gets at least one material if there are enough. The first colour's fair share of the area is 1.5 times
        that of another. `rebate` (materials, colours) is taken off the cost of a pair; to turn black to white costs 0.5.
        """
        means, areas = self.means, self.areas
        fair = np.full(len(wanted), 1.0)
        fair[0] = 1.5
        fair /= fair.sum()
        cost = ((means[:, None] - wanted) ** 2 * (0.5, 1, 1)).sum(axis=2) / 100**2
        cost += _AREA * np.maximum(0, fair - areas[:, None]) ** 2
        cost -= rebate
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

    def shares(self) -> Floats:
        """Return every material's share in every pixel (height, width, materials).

        If a region has several materials, no edge separates them: a pixel has a share of each, by its colour and place.
        """
        placed, regions, labels = self.placed, self.regions, self.labels
        count = labels.max() + 1
        sizes = np.bincount((regions * count + labels).ravel(), minlength=(regions.max() + 1) * count).reshape(
            -1, count
        )
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


def _placed(lab: Floats) -> Floats:
    """Return each pixel's colour and place: L*, a*, b*, row, column (height, width, 5)."""
    height, width = lab.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width] * np.float32(_PLACE / max(height, width))
    return np.dstack([lab, rows, columns])


def _materials(placed: Floats, regions: Labels, count: int) -> Labels:
    """Return the material of each pixel (height, width); at least `count` materials are large if the shades allow it."""
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
    """Return the group (n,) of each weighted point (n, features), in `count` groups by Ward's criterion (1963)."""
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
    """Join groups that are one material in different light, the most alike first, as long as `count` large ones are left."""
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
    """Return how far each two colours (n, 3) are apart if both are seen in the same light (n, n)."""
    light = means[:, :1] + 16
    rays = means[:, 1:] / light
    tint = np.linalg.norm(rays[:, None] - rays, axis=2) * np.minimum(light, light.T)
    apart: NDArray[np.float64] = np.hypot(tint, _LIGHTNESS * (light - light.T))
    return apart


def _edges(lab: Floats, groups: Labels, count: int) -> NDArray[np.float64]:
    """Return how much the colour changes across the border of each two groups (count, count); inf if they hardly touch."""
    change, length = np.zeros((count, count)), np.zeros((count, count))
    for axis in (0, 1):
        colors, places = np.moveaxis(lab, axis, 0), np.moveaxis(groups, axis, 0)
        pairs = (places[:-_EDGE_WIDTH] * count + places[_EDGE_WIDTH:]).ravel()
        steps = np.linalg.norm(colors[:-_EDGE_WIDTH] - colors[_EDGE_WIDTH:], axis=2).ravel()
        change += np.bincount(pairs, steps, count * count).reshape(count, count)
        length += np.bincount(pairs, minlength=count * count).reshape(count, count)
    change, length = change + change.T, length + length.T
    return np.where(length >= _LEAST_EDGE, change / np.maximum(length, 1), np.inf)


def rgb_of(lab: Floats) -> Floats:
    """Return CIELAB colours as sRGB (0–1). Colours outside of sRGB are clipped."""
    lightness = lab[..., 0].clip(0, 100)
    # Beyond this Z would be negative, and scikit-image would warn.
    blue_yellow = np.minimum(lab[..., 2], (lightness + 16) * (200 / 116) - 1e-3)
    rgb: Floats = lab2rgb(np.dstack([lightness, lab[..., 1], blue_yellow])).astype(np.float32)
    return rgb
