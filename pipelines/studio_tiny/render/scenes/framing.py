"""The paints, cameras, lamps and backdrop that scenes share."""

import math

from pipelines.studio_tiny.render import geometry, textures
from pipelines.studio_tiny.render.camera import Camera
from pipelines.studio_tiny.render.light import Rig
from pipelines.studio_tiny.render.sets import Set

PAINT = ("#e9e4dc", "#d9d4cc", "#cfd6d8", "#e6d3c4", "#d8c3b0", "#c9d2c4", "#bfc7cf", "#e8dfd0", "#dcc7c4", "#f0ede8")
DEEP = ("#b98f73", "#8a9a86", "#7d8fa3", "#a8746a", "#c2a878", "#6f7f86", "#94746a", "#bfa58f", "#59656b")
WHITE = ("#f2f0ec", "#eceae6", "#f5f2ea")
STONE = ("#c9c5bf", "#b7b3ad", "#a7a5a1", "#d4cdc2", "#bdb2a3")
OAK = ("#b98a5a", "#c79c6b", "#a87848", "#8b5e3c", "#d3ae80", "#6e4a31")
LINEN = ("#d9cfbe", "#e8e2d6", "#c8b8a2", "#b9c0c2", "#d8b8a8", "#9aa58f")


def lamps(b: Set, target: tuple[float, float, float], **changes: float | tuple[float, float]) -> None:
    side = b.pick(-1, 1)
    azimuth = side * b.uniform(20, 75)
    options = {
        "azimuth": azimuth,
        "elevation": b.uniform(28, 58),
        "distance": b.uniform(3.0, 5.0),
        "softness": b.uniform(0.5, 1.4),
        "sun_blur": b.uniform(0.5, 1.8),
        "accent_azimuth": -side * b.uniform(70, 125),
        "accent_elevation": b.uniform(15, 45),
        "accent_softness": b.uniform(0.3, 0.7),
    }
    b.rig = Rig(target=target, **{**options, **changes})


def front(
    b: Set,
    target: tuple[float, float, float],
    distance: float,
    height: tuple[float, float],
    view: float,
    blur: float = 0.0,
) -> None:
    """Set a camera that looks at the target from the front, from a height above it in this range; `blur` is its aperture."""
    azimuth = math.radians(b.rng.normal(0, 7))
    rise = b.uniform(*height)
    # In wide and tall frames the camera steps back a little, so that the middle keeps its size.
    distance *= 1 + 0.12 * abs(math.log(b.aspect))
    eye = (
        target[0] + math.sin(azimuth) * distance + b.uniform(-0.1, 0.1),
        target[1] + rise,
        target[2] + math.cos(azimuth) * distance,
    )
    b.camera = Camera(eye=eye, target=target, field_of_view=view, aspect=b.aspect, aperture=blur)


def above(b: Set, side: float, tilt: float) -> None:
    """Set a camera that looks down, on `side` metres along the frame's shorter side, `tilt` degrees from straight down."""
    distance = b.uniform(2.2, 3.2)
    view = math.degrees(2 * math.atan(side / 2 / distance))
    lean = math.radians(tilt)
    eye = (0.0, distance * math.cos(lean), distance * math.sin(lean) + 1e-3)
    b.camera = Camera(eye=eye, target=(0, 0, 0), field_of_view=view, aspect=b.aspect)


def backdrop(b: Set, depth: float, two: bool) -> tuple[int, int]:
    """Add a paper sweep or, if `two`, a wall and a floor of two colours; return their pigments."""
    first = b.pigment("backdrop", *PAINT)
    if two:
        second = b.pigment("floor", *PAINT)
        texture = b.texture(textures.plaster(b.rng)) if b.chance(0.4) else -1
        back = b.material(first, b.tone(first, 0.82), texture=texture, size=3.0, bump=0.12)
        b.add(
            geometry.wall(back, -depth), geometry.floor(b.material(second, specular=b.pick(0.0, 0.03), roughness=0.35))
        )
        return first, second
    b.add(geometry.sweep(b.material(first), depth, b.uniform(0.3, 0.9)))
    return first, first


def floorboards(b: Set, pigment: int) -> int:
    """Return a material of boards that run away from the camera."""
    grain = b.texture(textures.wood(b.rng, 6, 1))
    tones = (b.tone(pigment, 0.5), b.tone(pigment, 0.2))
    return b.material(pigment, *tones, texture=grain, size=1.4, bump=0.2, turn=math.pi / 2)
