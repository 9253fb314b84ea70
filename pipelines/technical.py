"""Is an image usable at all?"""

import numpy as np

from pipelines.images import Pixels

#: Pixels darker (or lighter, from the other end) than this count as black (white); 8-bit luma.
_DARK = 8.0
#: An image whose channels all stay within this many 8-bit levels is flat.
_FLAT = 3.0


def technical_finding(pixels: Pixels) -> str | None:
    """`black_image`, `blank_image` (white) or `flat_image` where nobody could use it; None for any other.

    Judged on the 0.5th to 99.5th percentile, so that a few stray pixels do not make a picture.
    """
    low, high = np.percentile(pixels.reshape(-1, 3), (0.5, 99.5), axis=0)
    if high.max() < _DARK:
        return "black_image"
    if low.min() > 255 - _DARK:
        return "blank_image"
    if (high - low).max() < _FLAT:
        return "flat_image"
    return None
