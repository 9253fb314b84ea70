"""The check whether an image can be used at all."""

import numpy as np
from PIL import Image

from pipelines.failure_reason import FailureReason
from pipelines.output.png import Pixels

#: A channel counts as black below this 8-bit level, and as white above 255 less this.
_DARK = 8.0
#: An image whose channels all stay within this many 8-bit levels is flat.
_FLAT = 3.0


def defect_of(pixels: Pixels) -> FailureReason | None:
    """Return BLACK_IMAGE, BLANK_IMAGE or FLAT_IMAGE if nobody could use the image (height, width, 3); otherwise None.

    Only the 0.5th to 99.5th percentile of each channel count, so that a few stray pixels do not make a picture.
    """
    # Pillow counts 256 levels faster than NumPy sorts the pixels.
    counts = np.reshape(Image.fromarray(pixels, "RGB").histogram(), (3, 256))
    shares = counts.cumsum(axis=1) / (pixels.size // 3)
    low, high = (shares < 0.005).sum(axis=1), (shares < 0.995).sum(axis=1)
    if high.max() < _DARK:
        return FailureReason.BLACK_IMAGE
    if low.min() > 255 - _DARK:
        return FailureReason.BLANK_IMAGE
    if (high - low).max() < _FLAT:
        return FailureReason.FLAT_IMAGE
    return None
