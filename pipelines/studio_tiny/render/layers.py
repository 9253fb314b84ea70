"""The layers of light of a traced set."""

from typing import Any

import msgspec
from numpy.typing import NDArray

#: The lamps of a set, in the order of the layers.
SOFT, SUN, DOME, ACCENT, GLOW = range(5)
LAMPS = 5


class Layers(msgspec.Struct, frozen=True):
    """The linear light that a traced set sends to the camera. Lamps are in the order above."""

    #: The light from each pigment under each lamp if the pigment were white (height, width, pigments, lamps).
    direct: NDArray[Any]
    #: Reflections of the lamps themselves (height, width, lamps).
    gloss: NDArray[Any]
    #: Light that bounced off each pigment before, under the soft box and the dome (height, width, pigments).
    bounce: NDArray[Any]
    #: The part of each pixel that each pigment takes (height, width, pigments).
    cover: NDArray[Any]
    #: The distance from the camera (height, width); 40 and more is the sky.
    depth: NDArray[Any]
    #: Whether the sun shines through a gobo, so that no mood may turn it off.
    gobo: bool = False
