"""Conversions between sRGB, linear light and OKLab (Ottosson 2020), and the curve that keeps highlights from clipping."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Colors = NDArray[Any]
#: Linear light below this is shown as it is. Light above it is bent toward 1.
KNEE = 0.72

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
LUMA = np.array([0.2126, 0.7152, 0.0722])


def to_linear(srgb: Colors) -> Colors:
    """Return linear light of sRGB values 0–1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Colors) -> Colors:
    """Return sRGB values 0–1 of linear light."""
    clipped = linear.clip(0, 1)
    return np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)


def to_oklab(linear: Colors) -> Colors:
    return np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T


def from_oklab(lab: Colors) -> Colors:
    """Return the linear light of OKLab values, not below 0."""
    return np.maximum(((lab @ np.linalg.inv(_TO_LAB).T) ** 3) @ np.linalg.inv(_TO_LMS).T, 0)


def hex_linear(text: str) -> Colors:
    """Return the linear light of `#rrggbb`."""
    return to_linear(np.array([int(text[index : index + 2], 16) for index in (1, 3, 5)]) / 255)


def shoulder(linear: Colors) -> Colors:
    """Return linear light with values above KNEE bent toward 1."""
    room = 1 - KNEE
    return np.where(linear < KNEE, linear, 1 - room * np.exp(-(np.maximum(linear, KNEE) - KNEE) / room))


def unbend(shown: Colors) -> Colors:
    """Return the linear light that `shoulder` bends to these values."""
    room = 1 - KNEE
    return np.where(shown < KNEE, shown, KNEE - room * np.log((1 - shown.clip(KNEE, 0.9985)) / room))
