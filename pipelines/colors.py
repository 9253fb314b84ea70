"""Colours as a spec writes them (CSS names, `#rgb`, `#rrggbb`), and how they reach an image."""

import colorsys
import re
from enum import StrEnum
from functools import lru_cache

from PIL.ImageColor import colormap

Rgb = tuple[int, int, int]


class PaletteMode(StrEnum):
    """The ways in which requested colours reach an image."""

    #: The prompt names them, and the model follows it as far as it can.
    PROMPT = "prompt"
    #: The prompt names them, and the image is guided towards them while it is denoised; see denoising/steering.py.
    STEER = "steer"
    #: The prompt names them, and the finished image's dominant colours are moved onto them; see output/palette.py.
    MATCH = "match"


_HEX = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})", re.ASCII)


@lru_cache(4096)
def parse_color(text: str) -> Rgb:
    """Return the channels, 0–255, of a CSS colour name (any case), `#rgb` or `#rrggbb`.

    Raises ValueError, with a message for the person who wrote the colour.
    """
    wanted = text.strip().lower()
    code = colormap.get(wanted, wanted)
    code = code if isinstance(code, str) else "#{:02x}{:02x}{:02x}".format(*code)
    if not _HEX.fullmatch(code):
        raise ValueError(f"{text!r} is not a colour: write a CSS colour name, #rgb or #rrggbb")
    if len(code) == 4:
        code = "#" + "".join(digit * 2 for digit in code[1:])
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def hex_color(rgb: Rgb) -> str:
    """Return `#rrggbb` in lower case."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


@lru_cache(4096)
def color_name(rgb: Rgb) -> str:
    """Return the nearest CSS name, by the weighted RGB distance of Riemersma's low-cost approximation (compuphase, 2012)."""
    return min(_NAMED, key=lambda name: _distance(rgb, _NAMED[name]))


#: Below this saturation (0–1) a colour counts as a grey.
_GREY = 0.15
#: How far apart colours of one family may be, in parts of the circle of hues and of the range of lightness.
_HUE = 1 / 12
_LIGHTNESS = 0.45
_LIGHTNESS_OF_GREYS = 0.2


def is_alike(a: Rgb, b: Rgb) -> bool:
    """Return whether two colours are of one family, as people sort them: both blue, say, or both a light grey."""
    hue_a, light_a, vivid_a = colorsys.rgb_to_hls(*(channel / 255 for channel in a))
    hue_b, light_b, vivid_b = colorsys.rgb_to_hls(*(channel / 255 for channel in b))
    # Nobody sees a hue close to black or white, whatever its saturation.
    grey_a, grey_b = (
        vivid < _GREY or not 0.06 < light < 0.95 for vivid, light in ((vivid_a, light_a), (vivid_b, light_b))
    )
    if grey_a or grey_b:
        return grey_a and grey_b and abs(light_a - light_b) <= _LIGHTNESS_OF_GREYS
    apart = abs(hue_a - hue_b)
    return min(apart, 1 - apart) <= _HUE and abs(light_a - light_b) <= _LIGHTNESS


def _distance(a: Rgb, b: Rgb) -> float:
    red_mean = (a[0] + b[0]) / 2
    red, green, blue = (a[0] - b[0]) ** 2, (a[1] - b[1]) ** 2, (a[2] - b[2]) ** 2
    return (2 + red_mean / 256) * red + 4 * green + (2 + (255 - red_mean) / 256) * blue


_NAMED: dict[str, Rgb] = {name: parse_color(name) for name in colormap}
