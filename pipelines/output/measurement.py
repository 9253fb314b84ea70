"""The measurement of an image: whether it has the requested colours, and how sharp it is."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.ndimage import laplace
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab
from skimage.transform import resize

from pipelines.colors import Rgb, hex_color
from pipelines.evaluation import DominantColor, Evaluation, Palette
from pipelines.output.defects import defect_of
from pipelines.output.png import Pixels

#: The most dominant colours of an image, and the side in pixels of the square copy in which they are found.
_CLUSTERS = 6
_SIDE = 96


def evaluate(pixels: Pixels, colors: Sequence[Rgb]) -> Evaluation:
    """Measure an image (height, width, 3) against its requested colours, by CIEDE2000 (Sharma, Wu and Dalal, 2005)."""
    luma = pixels @ np.array([0.2126, 0.7152, 0.0722])
    small = resize(pixels, (_SIDE, _SIDE), anti_aliasing=True)
    dominant, shares = dominant_colors(rgb2lab(small).reshape(-1, 3))
    palette = tuple(_nearest(color, dominant, shares) for color in colors)
    return Evaluation(
        palette=palette,
        mean_delta_e=round(sum(color.delta_e for color in palette) / len(palette), 2) if palette else None,
        dominant=tuple(
            DominantColor(_hex(lab), round(float(share), 4)) for lab, share in zip(dominant, shares, strict=True)
        ),
        sharpness=round(float(laplace(luma).var()), 3),
        contrast=round(float(luma.std()) / 255, 4),
        clipped_black=round(float((luma < 1).mean()), 4),
        clipped_white=round(float((luma > 254).mean()), 4),
        defect=defect_of(pixels),
    )


def dominant_colors(lab: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the dominant colours of CIELAB points (points, 3), and their shares (n,), the largest first.

    The same points give the same colours.
    """
    centres, labels = k_means(lab, _CLUSTERS, 20)
    counts = np.bincount(labels, minlength=_CLUSTERS)
    order = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
    return centres[order], counts[order] / len(labels)


def k_means(points: NDArray[np.floating], count: int, rounds: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the centres (count, n) and the labels of points (points, n); k-means++ with a fixed seed.

    Some clusters stay empty if there are fewer different points than clusters.
    """
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        centres, labels = kmeans2(points, count, minit="++", rng=np.random.default_rng(0), iter=rounds)
    return centres, labels


def _nearest(color: Rgb, dominant: NDArray[np.float64], shares: NDArray[np.float64]) -> Palette:
    wanted = rgb2lab(np.array([[color]], dtype=np.uint8)).reshape(3)
    distances = deltaE_ciede2000(np.broadcast_to(wanted, dominant.shape), dominant)
    best = int(np.argmin(distances))
    return Palette(
        requested=hex_color(color),
        nearest=_hex(dominant[best]),
        delta_e=round(float(distances[best]), 2),
        share=round(float(shares[best]), 4),
    )


def _hex(lab: NDArray[np.float64]) -> str:
    red, green, blue = (lab2rgb(lab.reshape(1, 1, 3)).reshape(3) * 255).round().clip(0, 255).astype(int).tolist()
    return hex_color((red, green, blue))
