"""Previews: small WebP files of images that are being generated."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: RGB from 0 to 1 (height, width, 3).
Colors = NDArray[np.float32]

#: The most pixels of a preview's longest side.
LONGEST_SIDE = 384
#: How many times the latents' size a preview is at most. A larger one would not be clearer.
ENLARGED = 4


def write_preview(path: Path, rgb: Colors) -> None:
    """Write colours as a WebP file, which takes the place of the last one only once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, _ = rgb.shape
    scale = min(ENLARGED, LONGEST_SIDE / max(height, width))
    picture = Image.fromarray((rgb * 255).round().astype(np.uint8), "RGB")
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    partial = path.with_suffix(".partial")
    # Method 0 is the quickest, and the files are small either way.
    picture.resize(size, Image.Resampling.BICUBIC).save(partial, "WEBP", quality=70, method=0)
    partial.replace(path)
