"""The scenes: each builds a set around an empty middle where a product may stand.

A scene reads `builder.colors` and builds at least so many regions with a colour of their own, each large enough to be seen.
"""

import math
from collections.abc import Callable

import numpy as np

from pipelines.studio_tiny.render import light, noise, textures
from pipelines.studio_tiny.render.camera import Camera
from pipelines.studio_tiny.render.geometry import (
    arch,
    box,
    cylinder,
    disc,
    floor,
    opening,
    rect,
    relief,
    sphere,
    sweep,
    wall,
)
from pipelines.studio_tiny.render.light import Rig
from pipelines.studio_tiny.render.noise import Field, fractal, smooth, step, unit
from pipelines.studio_tiny.render.sets import Builder, Set

PAINT = ("#e9e4dc", "#d9d4cc", "#cfd6d8", "#e6d3c4", "#d8c3b0", "#c9d2c4", "#bfc7cf", "#e8dfd0", "#dcc7c4", "#f0ede8")
DEEP = ("#b98f73", "#8a9a86", "#7d8fa3", "#a8746a", "#c2a878", "#6f7f86", "#94746a", "#bfa58f", "#59656b")
WHITE = ("#f2f0ec", "#eceae6", "#f5f2ea")
STONE = ("#c9c5bf", "#b7b3ad", "#a7a5a1", "#d4cdc2", "#bdb2a3")
OAK = ("#b98a5a", "#c79c6b", "#a87848", "#8b5e3c", "#d3ae80", "#6e4a31")
LINEN = ("#d9cfbe", "#e8e2d6", "#c8b8a2", "#b9c0c2", "#d8b8a8", "#9aa58f")


def build(scene: str, width: int, height: int, colors: int, seed: int) -> Set:
    """Return a set of the scene with at least `colors` (1–5) regions of their own colour; the same seed, the same set."""
    builder = Builder(scene, width, height, colors, seed)
    SCENES[scene](builder)
    if scene == "foliage" or (scene in _LEAFY and builder.chance(0.15)):
        builder.hang_leaves()
    return builder.built()


# ── lamps and cameras ─────────────────────────────────────────────────────────────────────────────────────────────────


def _lamps(b: Builder, target: tuple[float, float, float], **changes: float | tuple[float, float]) -> None:
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
    b.rig = Rig(target=target, **{**options, **changes})  # type: ignore[arg-type]


def _front(
    b: Builder,
    target: tuple[float, float, float],
    distance: float,
    height: tuple[float, float],
    view: float,
    blur: float = 0.0,
) -> None:
    """Look at the target from the front; `height` is the range of the eye above it, `blur` the lens's radius."""
    azimuth = math.radians(b.rng.normal(0, 7))
    rise = b.uniform(*height)
    # Wide and tall frames step back a little, so that the middle keeps its size.
    distance *= 1 + 0.12 * abs(math.log(b.aspect))
    eye = (
        target[0] + math.sin(azimuth) * distance + b.uniform(-0.1, 0.1),
        target[1] + rise,
        target[2] + math.cos(azimuth) * distance,
    )
    b.camera = Camera(eye=eye, target=target, field_of_view=view, aspect=b.aspect, aperture=blur)


def _above(b: Builder, side: float, tilt: float = 0.0, blur: float = 0.0) -> None:
    """Look down on a flat lay that is `side` metres along the shorter side of the frame; `tilt` in degrees from straight down."""
    distance = b.uniform(2.2, 3.2)
    view = math.degrees(2 * math.atan(side / 2 / distance))
    lean = math.radians(tilt)
    eye = (0.0, distance * math.cos(lean), distance * math.sin(lean) + 1e-3)
    b.camera = Camera(eye=eye, target=(0, 0, 0), field_of_view=view, aspect=b.aspect, aperture=blur)


def _backdrop(b: Builder, depth: float, natural: tuple[str, ...], two: bool) -> tuple[int, int]:
    """Add floor and wall, one paper sweep or, if `two`, of two colours; return their pigments."""
    first = b.pigment("backdrop", *natural)
    if two:
        second = b.pigment("floor", *natural)
        texture = b.texture(textures.plaster(b.rng)) if b.chance(0.4) else -1
        back = b.material(first, b.tone(first, 0.82), texture=texture, size=3.0, bump=0.12)
        b.add(wall(back, -depth), floor(b.material(second, specular=b.pick(0.0, 0.03), roughness=0.35)))
        return first, second
    b.add(sweep(b.material(first), depth, b.uniform(0.3, 0.9)))
    return first, first


# ── scenes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _sweep(b: Builder) -> None:
    """Seamless paper; further colours are sheets that hang before it or lie on it."""
    paper = b.pigment("paper", *PAINT, *DEEP)
    depth = b.uniform(1.2, 2.2)
    b.add(sweep(b.material(paper), depth, b.uniform(0.35, 1.0)))
    if b.colors >= 2:
        sheet = b.pigment("sheet", *PAINT)
        b.add(
            box(
                b.material(sheet),
                (b.uniform(-0.2, 0.2), 0, 0.6),
                (6, 0.006, b.uniform(1.5, 2.1)),
                b.uniform(-0.12, 0.12),
            )
        )
    side = b.pick(-1, 1)
    for number in range(3, b.colors + 1):
        panel = b.material(b.pigment("panel", *DEEP))
        offset = side * (0.42 + 0.30 * (number - 3)) * (1 if number % 2 else -1) * max(1.0, b.aspect**0.5)
        size = (b.uniform(0.6, 0.8), b.uniform(0.9, 1.5), 0.02)
        b.add(box(panel, (offset, 0.0, -depth + 0.25 + 0.12 * number), size, b.uniform(-0.15, 0.15)))
    _front(b, (0, b.uniform(0.28, 0.42), -0.2), 2.9, (0.1, 0.9), b.uniform(26, 34))
    _lamps(b, (0, 0.2, -0.2), softness=b.uniform(0.5, 1.2))


def _podium(b: Builder) -> None:
    """One to four stands on paper, with a disc behind them now and then."""
    depth = b.uniform(1.0, 1.8)
    _backdrop(b, depth, PAINT, two=b.colors >= 3 or b.chance(0.3))
    stands = max(1, b.colors - 2) if b.colors >= 3 else max(1, b.colors - 1) + int(b.chance(0.35))
    tall = b.uniform(0.22, 0.5)
    wide = 0.30 if stands > 1 else b.uniform(0.30, 0.42)
    fluted = b.chance(0.25)
    for number in range(stands):
        pigment = b.pigment("stand", *PAINT, *DEEP, *WHITE)
        options = {"specular": 0.03, "roughness": b.uniform(0.2, 0.6)} if b.chance(0.4) else {}
        if fluted:
            count = b.pick(10, 14, 18)
            ribs = b.texture(textures.flutes(count, 0.5))
            stand = b.material(pigment, b.tone(pigment, 0.7), texture=ribs, size=1.0, bump=0.8, **options)
        else:
            stand = b.material(pigment, **options)
        x = (number - (stands - 1) / 2) * 2.0 * wide + b.uniform(-0.05, 0.05)
        z = b.uniform(-0.35, 0.1) if stands > 1 else -0.1
        height = tall * b.uniform(0.35, 1.25) if stands > 1 else tall
        shape = b.pick("round", "round", "square")
        if shape == "round":
            b.add(cylinder(stand, (x, 0, z), wide * b.uniform(0.85, 1.1), height, b.uniform(0.005, 0.02)))
            if b.chance(0.25):
                b.add(cylinder(stand, (x, height, z), wide * 0.68, 0.07, 0.008))
        else:
            size = wide * 1.7
            b.add(box(stand, (x, 0, z), (size, height, size), b.uniform(-0.6, 0.6), b.uniform(0.005, 0.02)))
    if b.colors >= 5 or b.chance(0.25):
        ring = b.material(b.pigment("disc", *DEEP))
        b.add(disc(ring, (b.uniform(-0.35, 0.35), b.uniform(0.5, 0.75)), -depth + 0.25, 0.05, b.uniform(0.45, 0.6)))
    _front(b, (0, tall * 0.75 + 0.06, -0.15), 2.9, (0.25, 0.9), b.uniform(24, 30), b.pick(0.0, 0.02))
    _lamps(b, (0, tall, -0.1))


def _steps(b: Builder) -> None:
    """Stairs against a wall."""
    depth = 1.5
    _backdrop(b, depth, PAINT, two=b.colors >= 3)
    own = max(1, b.colors - (2 if b.colors >= 3 else 1))
    count = max(own, int(b.rng.integers(2, 5)))
    rise, tread = b.uniform(0.13, 0.22), b.uniform(0.24, 0.34)
    wide = b.uniform(0.7, 1.5)
    paints = [b.material(b.pigment("step", *PAINT, *DEEP)) for _ in range(own)]
    wander = b.uniform(-0.15, 0.15)
    round_ = b.chance(0.25)
    for number in range(count):
        height, back = rise * (number + 1), 0.35 - tread * number
        paint = paints[number % own]
        if round_:
            b.add(cylinder(paint, (0, rise * number, -0.3), 0.95 - number * 0.55 / count, rise, 0.008))
        else:
            b.add(box(paint, (wander * number, 0, (back - depth) / 2), (wide, height, back + depth), 0.0, 0.008))
    height = rise * count
    _front(b, (wander, height * 0.62, -0.2), 3.2, (0.4, 1.2), b.uniform(24, 30))
    _lamps(b, (0, height * 0.6, 0))


def _arch(b: Builder) -> None:
    """Standing arches, open or solid, with a plinth before them."""
    depth = b.uniform(1.3, 1.8)
    _backdrop(b, depth, PAINT, two=b.colors >= 4 or b.chance(0.3))
    own = max(1, b.colors - (2 if b.colors >= 4 else 1))
    outer = b.uniform(0.42, 0.6)
    spring = b.uniform(0.35, 0.75)
    shift = b.uniform(-0.25, 0.25)
    first = b.material(b.pigment("arch", *PAINT, *DEEP))
    hollow = b.chance(0.6)
    b.add(arch(first, shift, -0.35, 0.3, (outer, spring), (outer - b.uniform(0.13, 0.2), spring) if hollow else (0, 0)))
    if own >= 2:
        second = b.material(b.pigment("plinth", *PAINT, *DEEP))
        height = b.uniform(0.16, 0.3)
        b.add(cylinder(second, (shift * 0.3, 0, 0.15), b.uniform(0.36, 0.46), height))
    if own >= 3:
        third = b.material(b.pigment("second arch", *DEEP))
        side = b.pick(-1, 1)
        b.add(arch(third, shift + side * outer * 1.1, -0.75, 0.2, (outer, spring * 1.35), (0, 0)))
    elif b.chance(0.4):
        b.add(box(first, (shift + b.pick(-0.5, 0.5), 0, 0.0), (0.3, b.uniform(0.1, 0.35), 0.3), b.uniform(-0.5, 0.5)))
    _front(b, (0, (spring + outer) * 0.48, -0.3), 3.3, (0.1, 0.6), b.uniform(24, 30))
    _lamps(b, (0, 0.4, -0.2))


def _niche(b: Builder) -> None:
    """A niche in a wall, arched or round, with its own back."""
    half, sill, spring = b.uniform(0.42, 0.6), b.uniform(0.0, 0.35), b.uniform(0.6, 0.95)
    thick = b.uniform(0.25, 0.5)
    front = b.pigment("wall", *PAINT, *DEEP)
    texture = b.texture(textures.plaster(b.rng)) if b.chance(0.6) else -1
    skin = b.material(front, b.tone(front, 0.82), texture=texture, size=2.2, bump=0.14)
    round_ = b.chance(0.25)
    b.add(opening(skin, 0.0, thick, 0.0, half, sill, spring, round_))
    inner = b.pigment("niche", *PAINT, *DEEP) if b.colors >= 2 else front
    b.add(wall(b.material(inner), -thick))
    ground = b.pigment("floor", *PAINT) if b.colors >= 3 else front
    b.add(floor(b.material(ground)))
    middle = spring if round_ else (sill + spring + half) / 2
    if b.colors >= 4:
        stand = b.material(b.pigment("stand", *DEEP))
        b.add(cylinder(stand, (0, 0, 0.45), b.uniform(0.36, 0.44), b.uniform(0.2, 0.35)))
    if b.colors >= 5:
        block = b.material(b.pigment("block", *DEEP))
        b.add(box(block, (b.pick(-1, 1) * 0.75, 0, 0.35), (0.5, b.uniform(0.5, 0.8), 0.5), b.uniform(-0.3, 0.3)))
    low = 0.15 if b.colors >= 3 else 0.0
    _front(b, (b.uniform(-0.12, 0.12), middle * (0.82 if low else 1.0), 0), 3.4, (-0.05, 0.4), b.uniform(24, 32))
    _lamps(b, (0, middle, 0), elevation=b.uniform(25, 50))


def _shelf(b: Builder) -> None:
    """A shelf on a wall, perhaps with a painted lower half."""
    upper = b.pigment("wall", *PAINT, *DEEP)
    texture = b.texture(textures.plaster(b.rng)) if b.chance(0.4) else -1
    b.add(wall(b.material(upper, b.tone(upper, 0.85), texture=texture, size=2.5, bump=0.1), 0))
    if b.colors >= 3:
        lower = b.material(b.pigment("lower wall", *DEEP))
        b.add(box(lower, (0, -3, 0.0), (20, 3.0 + b.uniform(-0.05, 0.12), 0.03)))
    board = b.pigment("shelf", *OAK, *WHITE)
    thick = b.uniform(0.10, 0.16) if b.colors >= 2 else b.uniform(0.04, 0.1)
    deep = b.uniform(0.35, 0.55)
    if b.chance(0.6):
        grain = b.texture(textures.wood(b.rng, 2, 1))
        timber = b.material(board, b.tone(board, 0.45), b.tone(board, 0.3), texture=grain, size=1.4, bump=0.08)
    else:
        timber = b.material(board)
    b.add(box(timber, (b.pick(-0.3, 0.0, 0.3), -thick, deep / 2), (b.pick(1.6, 2.2, 8.0), thick, deep), 0.0, 0.006))
    if b.colors >= 4:
        pot = b.material(b.pigment("vase", *DEEP), specular=0.03, roughness=0.25)
        x = b.pick(-1, 1) * 0.5
        b.add(cylinder(pot, (x, 0, deep / 2), 0.19, b.uniform(0.4, 0.6), 0.04))
    if b.colors >= 5:
        tray = b.material(b.pigment("book", *DEEP))
        b.add(box(tray, (-x * 0.9, 0, deep / 2), (0.5, b.uniform(0.26, 0.36), 0.3), b.uniform(-0.2, 0.2), 0.004))
    _front(b, (0, 0.18, 0.1), 2.6, (0.12, 0.55), b.uniform(24, 31))
    _lamps(b, (0, 0.15, 0.1), elevation=b.uniform(35, 60))


def _slab(b: Builder, material: int, thick: float) -> None:
    """Put a tabletop of the material before a wall that is out of focus; further colours stand behind."""
    edge = b.uniform(0.25, 0.5)
    b.add(box(material, (0, -thick, -0.6), (8, thick, 2 * edge + 1.6), 0.0, 0.012))
    back = -0.6 - edge - 0.8 - b.uniform(0.4, 1.2)
    b.add(wall(b.material(b.pigment("wall", *PAINT, *DEEP)), back))
    b.add(floor(b.material(len(b.pigments) - 1), -1.2))
    _front(b, (0, b.uniform(0.12, 0.24), -0.25), 1.9, (0.35, 0.8), b.uniform(27, 34), b.uniform(0.015, 0.05))


def _props(b: Builder, count: int) -> None:
    """Stand `count` simple things of their own colour at the back of a table, to both sides."""
    for number in range(count):
        paint = b.material(b.pigment("prop", *DEEP), specular=b.pick(0.0, 0.03))
        side = 1 if number % 2 else -1
        x, z = side * b.uniform(0.38, 0.55) * max(1.0, b.aspect**0.6), b.uniform(-1.0, -0.75)
        if b.chance(0.5):
            b.add(cylinder(paint, (x, 0, z), b.uniform(0.24, 0.32), b.uniform(0.4, 0.75), 0.02))
        else:
            b.add(box(paint, (x, 0, z), (0.5, b.uniform(0.4, 0.75), 0.4), b.uniform(-0.5, 0.5), 0.012))


def _flat_or_table(b: Builder, material: int, own: int, flat_side: tuple[float, float]) -> None:
    """Show the material from above, or as a tabletop; the tabletop is for more colours than the `own` of the material."""
    if b.colors > own or b.chance(0.45):
        _slab(b, material, b.uniform(0.05, 0.12))
        _props(b, max(0, b.colors - own - 1))
        _lamps(b, (0, 0, -0.3), elevation=b.uniform(30, 55))
        return
    b.add(floor(material))
    _above(b, b.uniform(*flat_side), b.pick(0.0, b.uniform(5, 40)))
    _lamps(b, (0, 0, 0), elevation=b.uniform(35, 60), distance=b.uniform(2.0, 3.5))


def _marble(b: Builder) -> None:
    """Polished veined stone, seen from above or as a tabletop."""
    base = b.pigment("marble", "#efedea", "#e6e3df", "#dcd8d2", "#3a3d40", "#2f4a42", "#d9c2b0")
    vein = b.pigment("vein", "#8d8f93", "#6f6a66", "#b08d57", "#a89a8c")
    gold = b.tone(vein, 1.2)
    skin = b.material(
        base, b.tone(base, 0.72), vein, gold, texture=b.texture(textures.marble(b.rng)), size=b.uniform(1.2, 2.2),
        turn=b.uniform(0, 6.28), specular=0.05, roughness=b.uniform(0.05, 0.2),
    )  # fmt: skip
    _flat_or_table(b, skin, 1, (0.8, 1.5))


def _wood(b: Builder) -> None:
    """Boards with grain, from above or as a table; painted ones take further colours."""
    colors = min(3, b.colors) if b.chance(0.5) or b.colors > 3 else 1
    grounds = [b.pigment("wood", *OAK)]
    grounds += [b.pigment("painted board", *OAK, *DEEP) for _ in range(colors - 1)]
    end = b.chance(0.2)
    boards = b.pick(4, 5, 6, 7)
    texture = textures.end_grain(b.rng, colors) if end else textures.wood(b.rng, boards, colors)
    tones = (b.tone(grounds[0], 0.42), b.tone(grounds[0], 0.10))
    skin = b.material(
        grounds[0], *tones, *grounds[1:], texture=b.texture(texture), size=b.uniform(1.0, 1.5), bump=0.35,
        turn=b.pick(0.0, math.pi / 2, b.uniform(-0.5, 0.5)), specular=b.pick(0.0, 0.03), roughness=0.35,
    )  # fmt: skip
    _flat_or_table(b, skin, colors, (0.75, 1.1))


def _terrazzo(b: Builder) -> None:
    """Stone chips in cement, from above or as a tabletop."""
    colors = max(1, min(4, b.colors - 1)) if b.colors > 1 else b.pick(2, 3)
    base = b.pigment("cement", "#e8e4dd", "#d9d6d0", "#f0ece6", "#c8c4be", "#2f3236")
    chips = [b.pigment("chip", "#b46a4f", "#5f6f6a", "#c9a66b", "#8a8f94", "#d8b4a0", "#3f4a52") for _ in range(colors)]
    coarse = b.uniform(0.10, 0.16) if b.colors >= 2 else b.uniform(0.04, 0.12)
    skin = b.material(
        base, *chips, texture=b.texture(textures.terrazzo(b.rng, colors, coarse)), size=b.uniform(1.2, 1.6),
        specular=0.04, roughness=b.uniform(0.08, 0.25),
    )  # fmt: skip
    if b.colors == 1 and b.chance(0.4):
        _slab(b, skin, 0.08)
        _lamps(b, (0, 0, -0.3))
        return
    b.add(floor(skin))
    _above(b, b.uniform(0.7, 1.2), b.pick(0.0, b.uniform(5, 35)))
    _lamps(b, (0, 0, 0), distance=b.uniform(2.0, 3.5))


def _concrete(b: Builder) -> None:
    """Cast concrete: a wall of panels, a floor, a bench."""
    base = b.pigment("concrete", *STONE, "#8f8e8c", "#9b9894")
    texture = b.texture(textures.concrete(b.rng, panels=True))
    skin = b.material(base, b.tone(base, 0.68), b.tone(base, 0.22), texture=texture, size=b.uniform(2.2, 3.2), bump=0.3)
    b.add(wall(skin, -1.0))
    plain = b.texture(textures.concrete(b.rng, panels=False))
    ground = b.pigment("floor", *STONE) if b.colors >= 2 else base
    under = b.material(
        ground, b.tone(ground, 0.68), b.tone(ground, 0.3), texture=plain, size=2.5, bump=0.15, specular=0.02
    )
    b.add(floor(under))
    if b.colors >= 3 or b.chance(0.5):
        seat = b.pigment("bench", *STONE, *DEEP) if b.colors >= 3 else base
        block = b.material(seat, b.tone(seat, 0.68), b.tone(seat, 0.3), texture=plain, size=2.0, bump=0.15)
        b.add(box(block, (b.uniform(-0.3, 0.3), 0, -0.25), (b.uniform(0.9, 2.2), b.uniform(0.22, 0.4), 0.7), 0.0, 0.01))
    for number in range(4, b.colors + 1):
        side = 1 if number % 2 else -1
        b.add(
            box(
                b.material(b.pigment("panel", *DEEP)),
                (side * 0.75, 0, -0.7),
                (0.62, b.uniform(0.9, 1.3), 0.3),
                0.0,
                0.01,
            )
        )
    _front(b, (0, b.uniform(0.4, 0.55), -0.6), 3.2, (0.1, 0.6), b.uniform(26, 33))
    _lamps(b, (0, 0.4, -0.6))


def _plaster(b: Builder) -> None:
    """A trowelled wall and a ledge."""
    base = b.pigment("plaster", *PAINT, "#d9b79a", "#c98f6f", "#b9a48c")
    texture = b.texture(textures.plaster(b.rng))
    skin = b.material(base, b.tone(base, 0.74), texture=texture, size=b.uniform(1.8, 2.6), bump=b.uniform(0.25, 0.5))
    b.add(wall(skin, -0.8))
    ground = b.pigment("ledge", *PAINT, *OAK) if b.colors >= 2 else base
    b.add(floor(b.material(ground, b.tone(ground, 0.74), texture=texture, size=2.0, bump=0.12)))
    if b.colors >= 3:
        _vase(b, b.pick(-1, 1) * 0.55)
    for number in range(4, b.colors + 1):
        x = (0.62 if number == 4 else -0.62) * b.pick(0.9, 1.0)
        b.add(
            box(
                b.material(b.pigment("block", *DEEP)),
                (x, 0, -0.45),
                (0.55, b.uniform(0.35, 0.9), 0.4),
                b.uniform(-0.2, 0.2),
            )
        )
    _front(b, (0, b.uniform(0.38, 0.5), -0.5), 3.0, (0.05, 0.5), b.uniform(24, 31))
    _lamps(b, (0, 0.4, -0.6), azimuth=b.pick(-1, 1) * b.uniform(55, 78), elevation=b.uniform(20, 45))


def _vase(b: Builder, x: float) -> None:
    paint = b.material(b.pigment("vase", *DEEP), specular=0.03, roughness=0.4)
    radius = b.uniform(0.26, 0.32)
    b.add(sphere(paint, (x, radius * 0.95, -0.25), radius))
    b.add(cylinder(paint, (x, radius * 1.7, -0.25), radius * 0.35, radius * 0.75, 0.01))


def _folds(b: Builder, side: int = 384) -> Field:
    """Return the heights of a cloth let fall: long ridges that meet, fade and cross."""
    rng = b.rng
    x, y = noise.grid(side)
    total = np.zeros((side, side), np.float32)
    main = b.uniform(0, math.pi)
    for power, count in ((1.0, b.uniform(2.0, 3.2)), (0.6, b.uniform(3.0, 5.0)), (0.25, b.uniform(6, 9))):
        angle = main + rng.normal(0, 0.35)
        along = x * math.cos(angle) + y * math.sin(angle)
        warp = 0.38 * smooth(rng, 1.6, side=side) + 0.15 * smooth(rng, 3.2, side=side)
        phase = along * count + warp * (1.4 if power == 1.0 else 0.9) + rng.random()
        ridge = 1 - np.abs((phase % 1) * 2 - 1)
        ridge = ridge * ridge * (3 - 2 * ridge)
        total += power * ridge**1.2 * step(smooth(rng, 2, side=side), -1.6, 0.6)
    total += 0.35 * smooth(rng, 1.5, side=side)
    return unit(total)


def _cloth(b: Builder, bands: int) -> int:
    """Return a cloth material of `bands` colours."""
    colors = [b.pigment("cloth", *LINEN, *DEEP) for _ in range(bands)]
    satin = b.chance(0.5)
    texture = (
        textures.weave(b.rng, bands, 200, checked=False) if bands > 1 else textures.weave(b.rng, 1, 240, checked=False)
    )
    shine = {"specular": 0.05, "roughness": b.uniform(0.35, 0.5)} if satin else {}
    fine = 0.08 if satin else 0.35
    return b.material(
        colors[0], b.tone(colors[0], 0.62 if not satin else 0.85), *colors[1:4], texture=b.texture(texture), size=b.uniform(0.9, 1.3),
        bump=fine, turn=b.uniform(0, 3.14), **shine,
    )  # fmt: skip


def _fabric(b: Builder) -> None:
    """Draped cloth from above; silk or linen."""
    cloth = _cloth(b, min(4, b.colors))
    field = b.field(_folds(b))
    height = b.uniform(0.45, 0.75)
    b.add(relief(cloth, (0, 0, 0), (1, 0, 0), (0, 0, -1), (1.3, 1.3), height, field))
    if b.colors >= 5:
        b.add(box(b.material(b.pigment("tray", *DEEP)), (0.45, 0, 0.3), (0.6, height + 0.05, 0.6), 0.4))
    _above(b, b.uniform(0.9, 1.3), b.pick(0.0, b.uniform(5, 35)))
    _lamps(b, (0, height, 0), elevation=b.uniform(25, 45), distance=b.uniform(2.2, 3.5))


def _curtain(b: Builder) -> None:
    """A curtain that hangs to the floor in upright folds."""
    side = 384
    x, y = noise.grid(side)
    warp = 0.35 * smooth(b.rng, 2, 1, side=side) + 0.06 * smooth(b.rng, 5, 2, side=side)
    count = b.uniform(9, 17)
    phase = (x * count + warp * 2.2) % 1
    ridge = np.sin(math.pi * phase) ** 0.9
    power = step(smooth(b.rng, count / 2, 1, side=side), -2.0, 0.6)
    field = b.field(unit(ridge * (0.4 + 0.6 * power) + 0.15 * smooth(b.rng, 3, 1.5, side=side)))
    cloth = _cloth(b, 1)
    b.add(relief(cloth, (0, 1.2, -1.0), (1, 0, 0), (0, 1, 0), (2.2, 1.2), b.uniform(0.12, 0.2), field))
    if b.colors >= 2 or b.chance(0.6):
        ground = b.pigment("floor", *PAINT, *OAK)
    else:
        ground = 0
    b.add(floor(b.material(ground, specular=b.pick(0.0, 0.04), roughness=0.15)))
    if b.colors >= 3:
        b.add(
            cylinder(b.material(b.pigment("stand", *PAINT)), (0, 0, -0.1), b.uniform(0.38, 0.48), b.uniform(0.25, 0.4))
        )
    for number in range(4, b.colors + 1):
        x0 = 0.72 if number == 4 else -0.72
        b.add(
            box(
                b.material(b.pigment("block", *DEEP)),
                (x0, 0, -0.25),
                (0.46, b.uniform(0.4, 0.7), 0.46),
                b.uniform(-0.4, 0.4),
            )
        )
    _front(b, (0, b.uniform(0.45, 0.62), -0.8), 3.2, (0.0, 0.5), b.uniform(26, 33))
    _lamps(b, (0, 0.5, -0.8), azimuth=b.pick(-1, 1) * b.uniform(45, 75))


def _linen(b: Builder) -> None:
    """Coarse woven cloth lying flat: plain, striped or checked."""
    bands = min(4, b.colors) if b.colors > 1 else b.pick(1, 1, 2)
    colors = [b.pigment("yarn", *LINEN) for _ in range(bands)]
    texture = textures.weave(b.rng, bands, b.pick(64, 84, 110), checked=bands > 1 and b.chance(0.4))
    skin = b.material(
        colors[0], b.tone(colors[0], 0.40), *colors[1:], texture=b.texture(texture), size=b.uniform(1.0, 1.4), bump=0.6,
        turn=b.pick(0.0, math.pi / 2, b.uniform(-0.6, 0.6)),
    )  # fmt: skip
    field = b.field(unit(smooth(b.rng, 3, side=256) + 0.5 * smooth(b.rng, 6, 2, side=256)))
    b.add(relief(skin, (0, 0, 0), (1, 0, 0), (0, 0, -1), (1.6, 1.6), b.uniform(0.02, 0.06), field))
    if b.colors >= 5:
        b.add(cylinder(b.material(b.pigment("board", *OAK)), (b.uniform(-0.2, 0.2), 0, 0), 0.3, 0.09))
    _above(b, b.uniform(0.6, 0.9), b.pick(0.0, b.uniform(10, 40)))
    _lamps(b, (0, 0, 0), elevation=b.uniform(20, 40), distance=b.uniform(2.0, 3.0))


def _metal(b: Builder) -> None:
    """Brushed metal: a sheet behind and a top, with a turned stand."""
    base = b.pigment("metal", "#b9bcc0", "#a3a7ac", "#c4c7ca", "#b08d6b", "#8d9298")
    texture = b.texture(textures.brushed(b.rng))
    skin = b.material(
        base, b.tone(base, 0.82), texture=texture, size=1.8, bump=0.05, specular=0.5, roughness=0.22, metal=0.5
    )
    upright = b.material(
        base, b.tone(base, 0.82), texture=texture, size=1.8, bump=0.05, turn=b.pick(0.0, math.pi / 2), specular=0.5,
        roughness=0.25, metal=0.3,
    )  # fmt: skip
    if b.colors >= 2:
        b.add(wall(b.material(b.pigment("wall", *PAINT, *DEEP)), -1.1))
    else:
        b.add(wall(upright, -1.1))
    b.add(floor(skin))
    if b.colors >= 3:
        paint = b.material(b.pigment("stand", *DEEP), specular=0.04, roughness=0.2)
        b.add(cylinder(paint, (0, 0, -0.2), b.uniform(0.36, 0.44), b.uniform(0.3, 0.45)))
    else:
        _metal_thing(b, upright)
    for number in range(4, b.colors + 1):
        paint = b.material(b.pigment("panel", *DEEP))
        b.add(
            box(paint, ((0.8 if number == 4 else -0.8), 0, -0.7), (0.6, b.uniform(0.7, 1.2), 0.1), b.uniform(-0.2, 0.2))
        )
    _front(b, (0, b.uniform(0.25, 0.4), -0.4), 2.9, (0.2, 0.8), b.uniform(25, 32))
    _lamps(b, (0, 0.2, -0.3))


def _metal_thing(b: Builder, material: int) -> None:
    """Stand something of the metal in the middle: a turned stand, a block, an upright disc."""
    shape = b.pick("stand", "block", "disc")
    if shape == "stand":
        b.add(cylinder(material, (0, 0, -0.2), b.uniform(0.34, 0.44), b.uniform(0.10, 0.4), 0.02))
    elif shape == "block":
        b.add(
            box(material, (0, 0, -0.2), (b.uniform(0.6, 0.9), b.uniform(0.12, 0.35), 0.6), b.uniform(-0.5, 0.5), 0.015)
        )
    else:
        b.add(disc(material, (b.uniform(-0.2, 0.2), 0.45), -0.5, 0.04, 0.45))


def _water(b: Builder) -> None:
    """Clear rippled water with the net of light on its ground, around a stone or a stand."""
    shallow = b.pigment("water", "#8fd0d6", "#6db9c9", "#a9d8d2", "#4f9fb8")
    net = b.tone(shallow, 2.2)
    texture = b.texture(textures.water(b.rng, b.uniform(5, 9)))
    skin = b.material(
        shallow,
        net,
        b.tone(shallow, 0.72),
        texture=texture,
        size=b.uniform(1.8, 2.6),
        bump=0.10,
        specular=0.03,
        roughness=0.08,
    )
    b.add(floor(skin))
    if b.colors >= 2:
        rim = b.material(b.pigment("stone", *STONE, *PAINT))
        side = b.pick(-1, 1)
        b.add(box(rim, (side * 1.75, 0, 0), (2.6, 0.12, 8), b.uniform(-0.25, 0.25), 0.02))
    if b.colors >= 3 or b.chance(0.35):
        stand = b.material(b.pigment("stand", *STONE, *PAINT))
        b.add(cylinder(stand, (b.uniform(-0.15, 0.15), 0, b.uniform(-0.1, 0.1)), 0.36, 0.14, 0.02))
    for number in range(4, b.colors + 1):
        paint = b.material(b.pigment("block", *DEEP))
        b.add(
            box(
                paint,
                (b.uniform(-0.5, 0.1), 0, 0.5 if number == 4 else -0.55),
                (0.62, 0.1, 0.4),
                b.uniform(-0.5, 0.5),
                0.01,
            )
        )
    _above(b, b.uniform(1.2, 1.8), b.uniform(0, 45))
    _lamps(b, (0, 0, 0), elevation=b.uniform(40, 60))


def _sand(b: Builder) -> None:
    """Wind-rippled sand with stones or an arch."""
    base = b.pigment("sand", "#e2cba6", "#d9bd94", "#ead9bd", "#cfae86", "#e8d3c0")
    texture = b.texture(textures.sand(b.rng, b.pick(0.0, 9.0, 14.0, 18.0)))
    skin = b.material(
        base, b.tone(base, 0.72), b.tone(base, 0.45), texture=texture, size=1.6, bump=0.55, turn=b.uniform(-0.4, 0.4)
    )
    dunes = b.field(unit(fractal(b.rng, 3, octaves=3, gain=0.35, side=256)))
    b.add(relief(skin, (0, -0.06, -1.0), (1, 0, 0), (0, 0, -1), (5, 4), b.uniform(0.12, 0.3), dunes))
    upright = b.colors >= 2 or b.chance(0.5)
    if upright:
        b.add(wall(b.material(b.pigment("backdrop", *PAINT, "#d8e4ea", "#e8c8b0")), -2.2))
    if b.colors >= 3:
        first = b.material(b.pigment("stand", *STONE, *PAINT))
        b.add(cylinder(first, (b.uniform(-0.1, 0.1), 0, -0.3), 0.4, b.uniform(0.25, 0.4), 0.015))
    if b.colors >= 4:
        b.add(arch(b.material(b.pigment("arch", *DEEP)), b.uniform(-0.4, 0.4), -0.9, 0.25, (0.55, 0.8), (0.36, 0.8)))
    if b.colors >= 5:
        b.add(disc(b.material(b.pigment("sun", "#e8b070", "#d88c6a")), (-0.6, 1.0), -1.6, 0.03, 0.52))
    if b.colors < 3 and b.chance(0.6):
        stone = b.material(b.pigment("stone", *STONE))
        for _ in range(int(b.rng.integers(1, 4))):
            radius = b.uniform(0.06, 0.16)
            b.add(sphere(stone, (b.uniform(-0.7, 0.7), radius * 0.55, b.uniform(-0.8, 0.2)), radius))
    if upright:
        _front(b, (0, b.uniform(0.25, 0.4), -0.5), 2.9, (0.3, 0.8), b.uniform(26, 33))
    else:
        _above(b, b.uniform(1.0, 1.4), b.uniform(5, 50))
    _lamps(b, (0, 0.1, -0.4), elevation=b.uniform(14, 38), sun_blur=b.uniform(0.4, 1.0))


def _heavens(b: Builder, cloudy: float) -> None:
    """Paint a sky: zenith (pigment 0), horizon (1), cloud (2)."""
    x, y = noise.grid()
    up = 1 - y
    low = np.exp(-up / b.uniform(0.12, 0.3))
    shape = fractal(b.rng, 3.5, 9, octaves=7, gain=0.58) + 0.35 * fractal(b.rng, 2, 4, octaves=2)
    under = np.roll(shape, -9, axis=0)
    cloud = step(shape, cloudy, cloudy + 1.3) * step(up, 0.02, 0.12)
    shade = 0.35 * step(under - shape, -0.3, 0.8)
    lit = cloud * (1 - shade)
    rest = 1 - cloud
    b.sky = np.stack([rest * (1 - low) + cloud * shade * 0.5, rest * low + cloud * shade * 0.5, lit], axis=2).astype(
        np.float32
    )


def _beach(b: Builder) -> None:
    """Sand, sea and sky."""
    zenith = b.pigment("sky", "#7db4de", "#8fc1e6", "#6fa3cf", "#9fb8d8")
    horizon = b.tone(zenith, 1.45)
    b.pigment("cloud", *WHITE)
    del horizon
    _heavens(b, b.uniform(-0.2, 1.2))
    sea = b.pigment("sea", "#2f7f9f", "#3f9fb0", "#2a6a8c", "#5fb0b8")
    texture = b.texture(textures.water(b.rng, b.uniform(9, 14)))
    waves = b.material(
        sea, b.tone(sea, 1.3), b.tone(sea, 0.75), texture=texture, size=7.0, bump=0.05, specular=0.02, roughness=0.1
    )
    sand = b.pigment("sand", "#e2cba6", "#d9bd94", "#ead9bd", "#cfae86")
    grains = b.texture(textures.sand(b.rng, b.pick(0.0, 0.0, 12.0)))
    beach = b.material(sand, b.tone(sand, 0.8), b.tone(sand, 0.6), texture=grains, size=2.2, bump=0.35)
    foam = b.material(b.pigment("foam", *WHITE))
    b.add(floor(waves, 0.0, 300.0))
    x, y = noise.grid(384)
    curve = 0.06 * smooth(b.rng, 2.5, 2.5, side=384) + 0.02 * smooth(b.rng, 7, 7, side=384)
    shore = b.field(unit((y * -1.0 + 1.0) * 0.9 + curve * step(y, 0.1, 0.5)))
    # The beach is a wedge that rises out of the water toward the camera; foam is a flatter one that begins a little farther out.
    b.add(relief(beach, (0, -0.30, 0.1), (1, 0, 0), (0, 0, -1), (8, 3.4), 0.5, shore))
    lace = b.field(b.fields[shore] + 0.012 * fractal(b.rng, 24, octaves=3, side=384) * step(1 - y, 0.3, 0.4))
    b.add(relief(foam, (0, -0.060 + b.uniform(0.002, 0.004), 0.1), (1, 0, 0), (0, 0, -1), (8, 3.4), 0.1, lace))
    if b.colors >= 4:
        b.add(
            box(
                b.material(b.pigment("stand", *PAINT)),
                (b.uniform(-0.4, 0.4), 0, 1.0),
                (0.7, 0.42, 0.5),
                b.uniform(-0.4, 0.4),
            )
        )
    if b.colors >= 5:
        b.add(cylinder(b.material(b.pigment("column", *DEEP)), (b.pick(-0.75, 0.75), 0, 0.8), 0.28, 0.85))
    eye = b.uniform(0.7, 1.1)
    horizon_at = b.uniform(-0.12, 0.1)
    b.camera = Camera(
        eye=(b.uniform(-0.2, 0.2), eye, 4.2),
        target=(0, eye - 0.35 + horizon_at, 1.0),
        field_of_view=b.uniform(30, 38),
        aspect=b.aspect,
    )
    _lamps(b, (0, 0.1, 1.2), elevation=b.uniform(18, 50), distance=8.0, softness=2.0)


def _sky(b: Builder) -> None:
    """Clouds, with nothing below or with a still floor that mirrors them."""
    b.pigment("sky", "#7db4de", "#8fc1e6", "#6fa3cf", "#9fa8d8", "#e8b4a0")
    b.pigment("horizon", "#f0d8c0", "#e8e4dc", "#f4c8a8", "#dce8f0")
    b.pigment("cloud", *WHITE, "#f8e4d8")
    _heavens(b, b.uniform(-1.0, 0.3))
    if b.colors >= 4 or b.chance(0.4):
        ground = b.pigment("floor", *PAINT)
        b.add(floor(b.material(ground, specular=0.25, roughness=0.04), 0.0, 300.0))
        tilt = b.uniform(-0.02, 0.12)
    else:
        tilt = b.uniform(0.22, 0.5)
    if b.colors >= 5:
        b.add(cylinder(b.material(b.pigment("stand", *PAINT)), (0, 0, -0.5), 0.5, 0.42))
    b.camera = Camera(
        eye=(0, 0.6, 3.0), target=(0, 0.6 + tilt * 3, 0), field_of_view=b.uniform(30, 44), aspect=b.aspect
    )
    _lamps(b, (0, 0.2, -0.5))


def _window(b: Builder) -> None:
    """A room's corner with the light of a window or of blinds on it."""
    upper = b.pigment("wall", *PAINT, *DEEP)
    texture = b.texture(textures.plaster(b.rng)) if b.chance(0.3) else -1
    b.add(wall(b.material(upper, b.tone(upper, 0.85), texture=texture, size=2.5, bump=0.08), -0.9))
    ground = b.pigment("floor", *OAK, *PAINT) if b.colors >= 2 or b.chance(0.4) else upper
    if b.chance(0.4):
        grain = b.texture(textures.wood(b.rng, 6, 1))
        planks = b.material(
            ground, b.tone(ground, 0.5), b.tone(ground, 0.2), texture=grain, size=1.4, bump=0.2, turn=math.pi / 2
        )
    else:
        planks = b.material(ground)
    b.add(floor(planks))
    if b.colors >= 3:
        b.add(
            box(
                b.material(b.pigment("plinth", *PAINT)),
                (b.uniform(-0.3, 0.3), 0, -0.3),
                (0.7, b.uniform(0.3, 0.5), 0.5),
                b.uniform(-0.3, 0.3),
            )
        )
    elif b.chance(0.3):
        b.add(box(b.material(upper), (b.uniform(-0.3, 0.3), 0, -0.4), (0.6, b.uniform(0.15, 0.4), 0.5)))
    if b.colors >= 4:
        b.add(box(b.material(b.pigment("dado", *DEEP)), (0, 0, -0.93), (20, b.uniform(0.45, 0.6), 0.1)))
    if b.colors >= 5:
        b.add(
            cylinder(b.material(b.pigment("stool", *DEEP)), (b.pick(-0.75, 0.75), 0, -0.2), 0.27, b.uniform(0.5, 0.75))
        )
    b.gobo = light.blinds(b.rng) if b.chance(0.3) else light.window(b.rng)
    _front(b, (0, b.uniform(0.42, 0.6), -0.7), 3.1, (0.0, 0.5), b.uniform(26, 34))
    _lamps(
        b, (b.uniform(-0.25, 0.25), b.uniform(0.4, 0.6), -0.9), azimuth=b.pick(-1, 1) * b.uniform(25, 65), elevation=b.uniform(18, 45),
        gobo_size=b.uniform(0.55, 0.85), gobo_distance=b.uniform(1.5, 3.0), sun_blur=b.uniform(0.12, 0.5),
        gobo_shift=(b.uniform(-0.12, 0.12), b.uniform(-0.1, 0.1)),
    )  # fmt: skip


def _foliage(b: Builder) -> None:
    """Shadows of leaves on a wall and its floor."""
    _backdrop(b, 0.9, PAINT, two=b.colors >= 2)
    for number in range(3, b.colors + 1):
        paint = b.material(b.pigment("stand", *PAINT, *DEEP))
        x = (0.0, -0.62, 0.62)[number - 3]
        b.add(cylinder(paint, (x, 0, -0.15 - 0.1 * number), 0.34, b.uniform(0.3, 0.6), 0.01))
    if b.colors < 3 and b.chance(0.4):
        b.add(
            cylinder(
                b.material(b.pigment("stand", *PAINT)),
                (b.uniform(-0.2, 0.2), 0, -0.1),
                b.uniform(0.3, 0.4),
                b.uniform(0.1, 0.35),
            )
        )
    b.gobo = light.leaves(b.rng)
    _front(b, (0, b.uniform(0.38, 0.55), -0.6), 3.0, (0.05, 0.6), b.uniform(25, 32))
    _lamps(
        b, (0, 0.45, -0.7), azimuth=b.pick(-1, 1) * b.uniform(20, 60), elevation=b.uniform(22, 48), gobo_size=b.uniform(0.9, 1.3),
        gobo_distance=b.uniform(0.6, 1.8), sun_blur=b.uniform(0.3, 1.4), gobo_outside=1.0,
    )  # fmt: skip


def _tiles(b: Builder) -> None:
    """Glazed tiles behind a counter."""
    colors = min(3, b.colors) if b.chance(0.5) or b.colors >= 4 else 1
    glaze = [b.pigment("tile", "#f0eee8", "#dfe6e2", "#c8d8d4", "#8fb0a8", "#e8cfc0", *DEEP) for _ in range(colors)]
    grout = b.pigment("grout", *WHITE, *STONE)
    across, down, offset = b.pick((8, 8, 0.0), (6, 12, 0.5), (5, 15, 0.5), (12, 12, 0.0), (14, 5, 0.0))
    texture = b.texture(textures.tiles(b.rng, colors, across, down, offset, 0.0))
    skin = b.material(glaze[0], grout, *glaze[1:], texture=texture, size=1.6, bump=0.35, specular=0.05, roughness=0.1)
    b.add(wall(skin, -0.6))
    if b.colors > colors or b.chance(0.5):
        top = b.material(b.pigment("counter", *WHITE, *OAK, *STONE), specular=b.pick(0.0, 0.04), roughness=0.2)
        b.add(box(top, (0, -0.2, 0), (10, 0.2, 1.3), 0.0, 0.01))
        _props(b, max(0, b.colors - colors - 1))
        for index, solid in enumerate(b.solids[2:], 2):
            row = list(solid.row)
            row[2] += 0.62
            b.solids[index] = type(solid)(solid.kind, tuple(row), solid.material)
        _front(b, (0, b.uniform(0.28, 0.42), -0.3), 2.5, (0.1, 0.5), b.uniform(25, 32), b.pick(0.0, 0.02))
    else:
        _front(b, (0, 0.5, -0.6), 2.6, (-0.2, 0.3), b.uniform(24, 32))
    _lamps(b, (0, 0.3, -0.4))


def _brick(b: Builder) -> None:
    """A brick wall, raw or painted, and a floor."""
    colors = min(2, b.colors)
    bricks = [b.pigment("brick", "#a8583f", "#b86a50", "#94503c", "#e8e4de", "#d8cfc4") for _ in range(colors)]
    grout = b.tone(bricks[0], 1.25) if b.chance(0.5) else b.pigment("mortar", *STONE)
    tone = b.tone(bricks[0], 0.6)
    texture = b.texture(textures.tiles(b.rng, colors + 1, 6, 18, 0.5, 1.0))
    order = (bricks[0], grout, tone) if colors == 1 else (bricks[0], grout, bricks[1], tone)
    b.add(wall(b.material(*order, texture=texture, size=b.uniform(1.5, 2.0), bump=0.6), -0.9))
    ground = b.pigment("floor", *OAK, *STONE)
    if b.chance(0.5):
        grain = b.texture(textures.wood(b.rng, 6, 1))
        b.add(
            floor(
                b.material(
                    ground,
                    b.tone(ground, 0.5),
                    b.tone(ground, 0.2),
                    texture=grain,
                    size=1.4,
                    bump=0.2,
                    turn=math.pi / 2,
                )
            )
        )
    else:
        b.add(floor(b.material(ground)))
    for number in range(4, b.colors + 1):
        x = 0.6 if number == 4 else -0.6
        b.add(
            box(
                b.material(b.pigment("block", *DEEP)),
                (x, 0, -0.4),
                (0.5, b.uniform(0.5, 0.9), 0.4),
                b.uniform(-0.3, 0.3),
            )
        )
    _front(b, (0, b.uniform(0.42, 0.6), -0.7), 3.2, (0.0, 0.4), b.uniform(26, 33))
    _lamps(b, (0, 0.4, -0.8), azimuth=b.pick(-1, 1) * b.uniform(45, 72))


def _paper(b: Builder) -> None:
    """Cut paper in layers: discs and arches that cast soft shadows on each other."""
    b.add(wall(b.material(b.pigment("sheet", *PAINT)), -0.5))
    layers = max(b.colors - 1, int(b.rng.integers(2, 5)))
    style = b.pick("arches", "discs", "hills")
    shift = b.uniform(-0.3, 0.3)
    sheets = [b.material(b.pigment("sheet", *PAINT, *DEEP)) for _ in range(max(1, b.colors - 1))]
    for number in range(layers):
        sheet = sheets[number % len(sheets)]
        z = -0.42 + 0.09 * number
        part = 1 - number / layers
        if style == "arches":
            half = 0.22 + 0.62 * part
            b.add(arch(sheet, shift * part, z, 0.01, (half, 0.25 + 0.35 * part), (0, 0)))
        elif style == "discs":
            place = (shift + b.uniform(-0.12, 0.12) * number, 0.52 + b.uniform(-0.1, 0.1))
            b.add(disc(sheet, place, z, 0.01, 0.18 + 0.52 * part))
        else:
            radius = b.uniform(0.55, 0.9)
            place = (b.uniform(-0.8, 0.8), 0.05 + 0.35 * part - radius + 0.35)
            b.add(disc(sheet, place, z, 0.01, radius))
    _front(b, (0, 0.5, -0.3), 2.9, (-0.1, 0.2), b.uniform(22, 28))
    _lamps(b, (0, 0.5, -0.3), softness=b.uniform(0.3, 0.7))


def _acrylic_floor(b: Builder) -> None:
    """A dark or light mirror floor before a wall with a glowing panel."""
    back = b.pigment("wall", *DEEP, *PAINT)
    b.add(wall(b.material(back), -1.4))
    ground = b.pigment("floor", *DEEP) if b.colors >= 2 else back
    b.add(floor(b.material(ground, specular=0.12, roughness=b.uniform(0.02, 0.12))))
    panel = b.pigment("panel", "#fff2dc", "#f4f0ff", "#ffe0d0", "#e0f4ff")
    glow = b.material(panel, glow=1.0)
    if b.chance(0.5):
        b.add(disc(glow, (b.uniform(-0.2, 0.2), b.uniform(0.6, 0.8)), -1.3, 0.02, b.uniform(0.45, 0.6)))
    else:
        b.add(arch(glow, b.uniform(-0.2, 0.2), -1.3, 0.02, (b.uniform(0.4, 0.55), b.uniform(0.5, 0.8)), (0, 0)))
    if b.colors >= 4 or b.chance(0.4):
        b.add(
            cylinder(
                b.material(b.pigment("stand", *DEEP), specular=0.05, roughness=0.15),
                (0, 0, -0.3),
                0.42,
                b.uniform(0.2, 0.35),
            )
        )
    if b.colors >= 5:
        b.add(box(b.material(b.pigment("block", *DEEP)), (b.pick(-0.8, 0.8), 0, -0.6), (0.5, 0.9, 0.4), 0.3))
    _front(b, (0, b.uniform(0.35, 0.5), -0.5), 3.0, (0.05, 0.5), b.uniform(26, 33))
    _lamps(b, (0, 0.3, -0.4))


#: Where leaves may reach into the frame.
_LEAFY = ("podium", "arch", "niche", "plaster", "window", "shelf", "sand", "water", "steps")

SCENES: dict[str, Callable[[Builder], None]] = {
    "sweep": _sweep,
    "podium": _podium,
    "steps": _steps,
    "arch": _arch,
    "niche": _niche,
    "shelf": _shelf,
    "paper": _paper,
    "mirror": _acrylic_floor,
    "marble": _marble,
    "wood": _wood,
    "terrazzo": _terrazzo,
    "concrete": _concrete,
    "plaster": _plaster,
    "tiles": _tiles,
    "brick": _brick,
    "metal": _metal,
    "fabric": _fabric,
    "curtain": _curtain,
    "linen": _linen,
    "water": _water,
    "sand": _sand,
    "beach": _beach,
    "sky": _sky,
    "window": _window,
    "foliage": _foliage,
}
_ = rect
