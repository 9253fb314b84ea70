"""Layers of light, and their files."""

from typing import Any

import msgspec
from numpy.typing import NDArray

#: The lamps of a set, in the order of the layers.
SOFT, SUN, DOME, ACCENT, GLOW = range(5)
LAMPS = 5


class Layers(msgspec.Struct, frozen=True):
    """What a traced set sends to the camera, linear; lamps are in the order above."""

    #: (height, width, pigments, lamps): the light from each pigment under each lamp, were the pigment white.
    direct: NDArray[Any]
    #: (height, width, lamps): reflections of the lamps themselves.
    gloss: NDArray[Any]
    #: (height, width, pigments): light that arrives by way of each pigment, under the soft box and the dome.
    bounce: NDArray[Any]
    #: (height, width, pigments): the part of each pixel that is of each pigment.
    cover: NDArray[Any]
    #: (height, width): distance from the camera; 40 and more is the sky.
    depth: NDArray[Any]
    #: The sun shines through a gobo, so no mood may turn it off.
    gobo: bool = False
