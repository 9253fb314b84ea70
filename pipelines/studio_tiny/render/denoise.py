"""The removal of noise from layers of light."""

import math
from typing import Any

import numpy as np
from numba import njit

from pipelines.studio_tiny.render.layers import LAMPS


@njit(cache=True, fastmath=True)
def without_noise(direct: Any, gloss: Any, bounce: Any, cover: Any, features: Any) -> Any:
    """Return the layers without noise in the light, but with their textures: à-trous with edges at normals, depth and solids.

    See Dammertz et al. 2010. A pixel's light is the sum of its layers over the pigments; they share its change by cover.
    """
    height, width, pigments, _ = direct.shape
    channels = LAMPS - 1 + LAMPS + pigments
    light = np.zeros((height, width, channels), np.float32)
    for y in range(height):
        for x in range(width):
            for k in range(pigments):
                for lamp in range(LAMPS - 1):
                    light[y, x, lamp] += direct[y, x, k, lamp]
                light[y, x, LAMPS - 1 + LAMPS + k] = bounce[y, x, k]
            for lamp in range(LAMPS):
                light[y, x, LAMPS - 1 + lamp] = gloss[y, x, lamp]
    noisy = light.copy()
    for level in range(3):
        step = 1 << level
        source = light.copy()
        for y in range(height):
            for x in range(width):
                total = 0.0
                sums = np.zeros(channels)
                for j in range(-1, 2):
                    for i in range(-1, 2):
                        yy, xx = y + j * step, x + i * step
                        if yy < 0 or xx < 0 or yy >= height or xx >= width:
                            continue
                        gap = 0.0
                        for f in range(3):
                            d = features[y, x, f] - features[yy, xx, f]
                            gap += d * d * 60
                        d = (features[y, x, 3] - features[yy, xx, 3]) / (0.02 + 0.02 * features[y, x, 3])
                        gap += d * d * 0.3
                        d = features[y, x, 4] - features[yy, xx, 4]
                        gap += d * d * 40
                        # The shadows of a hard lamp must keep their edges.
                        d = (source[y, x, 1] - source[yy, xx, 1]) * (1 + level)
                        gap += d * d * 8
                        d = (source[y, x, 0] - source[yy, xx, 0]) * (1 + level)
                        gap += d * d * 4
                        if gap > 8:
                            continue
                        weight = math.exp(-gap) * (2 - abs(i)) * (2 - abs(j))
                        total += weight
                        for c in range(channels):
                            sums[c] += weight * source[yy, xx, c]
                for c in range(channels):
                    light[y, x, c] = sums[c] / total
    for y in range(height):
        for x in range(width):
            for k in range(pigments):
                for lamp in range(LAMPS - 1):
                    moved = direct[y, x, k, lamp] + cover[y, x, k] * (light[y, x, lamp] - noisy[y, x, lamp])
                    direct[y, x, k, lamp] = max(0.0, moved)
                bounce[y, x, k] = light[y, x, LAMPS - 1 + LAMPS + k]
            for lamp in range(LAMPS):
                gloss[y, x, lamp] = light[y, x, LAMPS - 1 + lamp]
    return direct, gloss, bounce
