"""PNG files: written whole or not at all, with the recipe in a text chunk.

Equal pixels and recipes give equal bytes: nothing in the file names the time or the job.
"""

import zlib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from pipelines.output.whole_file import whole_file
from pipelines.recipe import CHUNK, Recipe

Pixels = NDArray[np.uint8]


def write_png(path: Path, pixels: Pixels, recipe: Recipe) -> None:
    """Write pixels (height, width, 3); the file appears under its name only once all of it is on disk."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt(CHUNK, msgspec.json.encode(recipe, order="deterministic").decode())
    with whole_file(path) as file:
        # After PNG's filters there is little left to find but runs. So this is quicker than zlib's levels, and the files
        # are hardly larger.
        Image.fromarray(pixels, "RGB").save(file, "PNG", pnginfo=info, compress_type=zlib.Z_RLE)
