"""Previews: small WebP files of images on their way."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: (height, width, 3), 0–1.
Colors = NDArray[np.float32]

#: Pixels of the longest side at most.
LONGEST_SIDE = 384
#: How many times a preview is enlarged at most: more would only make it larger, not clearer.
ENLARGED = 4


def write_preview(path: Path, rgb: Colors) -> None:
    """Write colours as WebP; the file appears under its name only once it is whole, in place of the last one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, _ = rgb.shape
    scale = min(ENLARGED, LONGEST_SIDE / max(height, width))
    picture = Image.fromarray((rgb * 255).round().astype(np.uint8), "RGB")
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    partial = path.with_suffix(".partial")
    # Method 0 takes a third of the time of the usual 4, and the files are small either way.
    picture.resize(size, Image.Resampling.BICUBIC).save(partial, "WEBP", quality=70, method=0)
    partial.replace(path)
