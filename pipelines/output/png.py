"""PNG files: written whole or not at all, with the recipe and the origin in text chunks.

Equal pixels, recipes and origins give equal bytes: nothing in the file names the time.
"""

import zlib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from pipelines import origin, recipe
from pipelines.origin import Origin
from pipelines.output.whole_file import whole_file
from pipelines.recipe import Recipe

Pixels = NDArray[np.uint8]


def write_png(path: Path, pixels: Pixels, made_by: Recipe, made_for: Origin | None = None) -> None:
    """Write pixels (height, width, 3); the file appears under its name only once all of it is on disk."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt(recipe.CHUNK, _json(made_by))
    if made_for is not None:
        info.add_itxt(origin.CHUNK, _json(made_for))
        # The word of the PNG specification, which other programs show.
        info.add_itxt("Title", made_for.display_name)
    with whole_file(path) as file:
        # After PNG's filters there is little left to find but runs. This takes 0.6 of the time of level 4, and gives files of
        # 0.98 to 1.15 times the size.
        Image.fromarray(pixels, "RGB").save(file, "PNG", pnginfo=info, compress_type=zlib.Z_RLE)


def _json(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
