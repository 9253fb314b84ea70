"""A picture with edges, shading and grain."""

import numpy as np

from pipelines.output.png import Pixels


def still_life(size: int = 256, grain: float = 2.0) -> Pixels:
    """Return a beige wall in a falling light, a brown floor, and a white disc with a shaded side."""
    rows, columns = np.mgrid[0:size, 0:size] / size
    light = 1.0 - 0.3 * columns[..., None]
    picture = light * np.array([205.0, 190.0, 165.0])
    picture = np.where((rows > 0.65)[..., None], light * np.array([130.0, 90.0, 60.0]), picture)
    disc = (rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.2**2
    picture = np.where(disc[..., None], light * np.array([240.0, 240.0, 238.0]), picture)
    noise = np.random.default_rng(5).normal(0, grain, (size, size, 1))
    pixels: Pixels = (picture + noise).clip(0, 255).astype(np.uint8)
    return pixels
