"""Scenes whose subject is a surface: stone, wood, plaster, tiles, metal."""

import math

from pipelines.studio_tiny.render import geometry, textures
from pipelines.studio_tiny.render.scenes.framing import DEEP, OAK, PAINT, STONE, WHITE, above, floorboards, front, lamps
from pipelines.studio_tiny.render.sets import Set


def _slab(b: Set, material: int, thick: float) -> None:
    """Add a tabletop of the material before a wall that is out of focus, and a camera in front of it."""
    edge = b.uniform(0.25, 0.5)
    b.add(geometry.box(material, (0, -thick, -0.6), (8, thick, 2 * edge + 1.6), 0.0, 0.012))
    back = -0.6 - edge - 0.8 - b.uniform(0.4, 1.2)
    b.add(geometry.wall(b.paint("wall", *PAINT, *DEEP), back))
    b.add(geometry.floor(b.material(len(b.pigments) - 1), -1.2))
    front(b, (0, b.uniform(0.12, 0.24), -0.25), 1.9, (0.35, 0.8), b.uniform(27, 34), b.uniform(0.004, 0.022))


def _props(b: Set, count: int) -> None:
    """Add `count` simple solids, each of its own colour, at the back of a table, to both sides."""
    for number in range(count):
        paint = b.paint("prop", *DEEP, specular=b.pick(0.0, 0.03))
        side = 1 if number % 2 else -1
        x, z = side * b.uniform(0.38, 0.55) * max(1.0, b.aspect**0.6), b.uniform(-1.0, -0.75)
        if b.chance(0.5):
            b.add(geometry.cylinder(paint, (x, 0, z), b.uniform(0.24, 0.32), b.uniform(0.4, 0.75), 0.02))
        else:
            b.add(geometry.box(paint, (x, 0, z), (0.5, b.uniform(0.4, 0.75), 0.4), b.uniform(-0.5, 0.5), 0.012))


def _flat_or_table(b: Set, material: int, own: int, flat_side: tuple[float, float]) -> None:
    """Show the material from above or as a tabletop; always as a tabletop if more than its `own` colours are wanted."""
    if b.colors > own or b.chance(0.45):
        _slab(b, material, b.uniform(0.05, 0.12))
        _props(b, max(0, b.colors - own - 1))
        lamps(b, (0, 0, -0.3), elevation=b.uniform(30, 55))
        return
    b.add(geometry.floor(material))
    above(b, b.uniform(*flat_side), b.pick(0.0, b.uniform(5, 40)))
    lamps(b, (0, 0, 0), elevation=b.uniform(35, 60), distance=b.uniform(2.0, 3.5))


def marble(b: Set) -> None:
    """Build polished veined stone, seen from above or as a tabletop."""
    base = b.pigment("marble", "#efedea", "#e6e3df", "#dcd8d2", "#3a3d40", "#2f4a42", "#d9c2b0")
    vein = b.pigment("vein", "#8d8f93", "#6f6a66", "#b08d57", "#a89a8c")
    gold = b.tone(vein, 1.2)
    skin = b.material(
        base, b.tone(base, 0.72), vein, gold, texture=b.texture(textures.marble(b.rng)), size=b.uniform(1.2, 2.2),
        turn=b.uniform(0, 6.28), specular=0.05, roughness=b.uniform(0.05, 0.2),
    )  # fmt: skip
    _flat_or_table(b, skin, 1, (0.8, 1.5))


def wood(b: Set) -> None:
    """Build boards with grain, seen from above or as a table. Painted ones take further colours."""
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


def terrazzo(b: Set) -> None:
    """Build stone chips in cement, seen from above or as a tabletop."""
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
        lamps(b, (0, 0, -0.3))
        return
    b.add(geometry.floor(skin))
    above(b, b.uniform(0.7, 1.2), b.pick(0.0, b.uniform(5, 35)))
    lamps(b, (0, 0, 0), distance=b.uniform(2.0, 3.5))


def concrete(b: Set) -> None:
    """Build a wall of panels of cast concrete, a floor, and perhaps a bench."""
    base = b.pigment("concrete", *STONE, "#8f8e8c", "#9b9894")
    texture = b.texture(textures.concrete(b.rng, panels=True))
    skin = b.material(base, b.tone(base, 0.68), b.tone(base, 0.22), texture=texture, size=b.uniform(2.2, 3.2), bump=0.3)
    b.add(geometry.wall(skin, -1.0))
    plain = b.texture(textures.concrete(b.rng, panels=False))
    ground = b.pigment("floor", *STONE) if b.colors >= 2 else base
    under = b.material(
        ground, b.tone(ground, 0.68), b.tone(ground, 0.3), texture=plain, size=2.5, bump=0.15, specular=0.02
    )
    b.add(geometry.floor(under))
    if b.colors >= 3 or b.chance(0.5):
        seat = b.pigment("bench", *STONE, *DEEP) if b.colors >= 3 else base
        block = b.material(seat, b.tone(seat, 0.68), b.tone(seat, 0.3), texture=plain, size=2.0, bump=0.15)
        b.add(
            geometry.box(
                block, (b.uniform(-0.3, 0.3), 0, -0.25), (b.uniform(0.9, 2.2), b.uniform(0.22, 0.4), 0.7), 0.0, 0.01
            )
        )
    for number in range(4, b.colors + 1):
        side = 1 if number % 2 else -1
        b.add(
            geometry.box(b.paint("panel", *DEEP), (side * 0.75, 0, -0.7), (0.62, b.uniform(0.9, 1.3), 0.3), 0.0, 0.01)
        )
    front(b, (0, b.uniform(0.4, 0.55), -0.6), 3.2, (0.1, 0.6), b.uniform(26, 33))
    lamps(b, (0, 0.4, -0.6))


def plaster(b: Set) -> None:
    """Build a trowelled wall and a ledge."""
    base = b.pigment("plaster", *PAINT, "#d9b79a", "#c98f6f", "#b9a48c")
    texture = b.texture(textures.plaster(b.rng))
    skin = b.material(base, b.tone(base, 0.74), texture=texture, size=b.uniform(1.8, 2.6), bump=b.uniform(0.25, 0.5))
    b.add(geometry.wall(skin, -0.8))
    ground = b.pigment("ledge", *PAINT, *OAK) if b.colors >= 2 else base
    b.add(geometry.floor(b.material(ground, b.tone(ground, 0.74), texture=texture, size=2.0, bump=0.12)))
    if b.colors >= 3:
        _vase(b, b.pick(-1, 1) * 0.55)
    for number in range(4, b.colors + 1):
        x = (0.62 if number == 4 else -0.62) * b.pick(0.9, 1.0)
        b.add(
            geometry.box(
                b.paint("block", *DEEP), (x, 0, -0.45), (0.55, b.uniform(0.35, 0.9), 0.4), b.uniform(-0.2, 0.2)
            )
        )
    front(b, (0, b.uniform(0.38, 0.5), -0.5), 3.0, (0.05, 0.5), b.uniform(24, 31))
    lamps(b, (0, 0.4, -0.6), azimuth=b.pick(-1, 1) * b.uniform(55, 78), elevation=b.uniform(20, 45))


def _vase(b: Set, x: float) -> None:
    paint = b.paint("vase", *DEEP, specular=0.03, roughness=0.4)
    radius = b.uniform(0.26, 0.32)
    b.add(geometry.sphere(paint, (x, radius * 0.95, -0.25), radius))
    b.add(geometry.cylinder(paint, (x, radius * 1.7, -0.25), radius * 0.35, radius * 0.75, 0.01))


def tiles(b: Set) -> None:
    """Build glazed tiles, perhaps behind a counter."""
    colors = min(3, b.colors) if b.chance(0.5) or b.colors >= 4 else 1
    glaze = [b.pigment("tile", "#f0eee8", "#dfe6e2", "#c8d8d4", "#8fb0a8", "#e8cfc0", *DEEP) for _ in range(colors)]
    grout = b.pigment("grout", *WHITE, *STONE)
    across, down, offset = b.pick((8, 8, 0.0), (6, 12, 0.5), (5, 15, 0.5), (12, 12, 0.0), (14, 5, 0.0))
    texture = b.texture(textures.tiles(b.rng, colors, across, down, offset, 0.0))
    skin = b.material(glaze[0], grout, *glaze[1:], texture=texture, size=1.6, bump=0.35, specular=0.05, roughness=0.1)
    b.add(geometry.wall(skin, -0.6))
    if b.colors > colors or b.chance(0.5):
        top = b.paint("counter", *WHITE, *OAK, *STONE, specular=b.pick(0.0, 0.04), roughness=0.2)
        b.add(geometry.box(top, (0, -0.2, 0), (10, 0.2, 1.3), 0.0, 0.01))
        _props(b, max(0, b.colors - colors - 1))
        for index, solid in enumerate(b.solids[2:], 2):
            row = list(solid.row)
            row[2] += 0.62
            b.solids[index] = type(solid)(solid.kind, tuple(row), solid.material)
        front(b, (0, b.uniform(0.28, 0.42), -0.3), 2.5, (0.1, 0.5), b.uniform(25, 32), b.pick(0.0, 0.02))
    else:
        front(b, (0, 0.5, -0.6), 2.6, (-0.2, 0.3), b.uniform(24, 32))
    lamps(b, (0, 0.3, -0.4))


def brick(b: Set) -> None:
    """Build a brick wall, raw or painted, and a floor."""
    colors = min(2, b.colors)
    bricks = [b.pigment("brick", "#a8583f", "#b86a50", "#94503c", "#e8e4de", "#d8cfc4") for _ in range(colors)]
    grout = b.tone(bricks[0], 1.25) if b.chance(0.5) else b.pigment("mortar", *STONE)
    tone = b.tone(bricks[0], 0.6)
    texture = b.texture(textures.tiles(b.rng, colors + 1, 6, 18, 0.5, 1.0))
    order = (bricks[0], grout, tone) if colors == 1 else (bricks[0], grout, bricks[1], tone)
    b.add(geometry.wall(b.material(*order, texture=texture, size=b.uniform(1.5, 2.0), bump=0.6), -0.9))
    ground = b.pigment("floor", *OAK, *STONE)
    b.add(geometry.floor(floorboards(b, ground) if b.chance(0.5) else b.material(ground)))
    for number in range(4, b.colors + 1):
        x = 0.6 if number == 4 else -0.6
        b.add(
            geometry.box(b.paint("block", *DEEP), (x, 0, -0.4), (0.5, b.uniform(0.5, 0.9), 0.4), b.uniform(-0.3, 0.3))
        )
    front(b, (0, b.uniform(0.42, 0.6), -0.7), 3.2, (0.0, 0.4), b.uniform(26, 33))
    lamps(b, (0, 0.4, -0.8), azimuth=b.pick(-1, 1) * b.uniform(45, 72))


def metal(b: Set) -> None:
    """Build brushed metal: a floor and a sheet behind it, with a stand, a block or a disc."""
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
        b.add(geometry.wall(b.paint("wall", *PAINT, *DEEP), -1.1))
    else:
        b.add(geometry.wall(upright, -1.1))
    b.add(geometry.floor(skin))
    if b.colors >= 3:
        paint = b.paint("stand", *DEEP, specular=0.04, roughness=0.2)
        b.add(geometry.cylinder(paint, (0, 0, -0.2), b.uniform(0.36, 0.44), b.uniform(0.3, 0.45)))
    else:
        _metal_thing(b, upright)
    for number in range(4, b.colors + 1):
        paint = b.paint("panel", *DEEP)
        b.add(
            geometry.box(
                paint, ((0.8 if number == 4 else -0.8), 0, -0.7), (0.6, b.uniform(0.7, 1.2), 0.1), b.uniform(-0.2, 0.2)
            )
        )
    front(b, (0, b.uniform(0.25, 0.4), -0.4), 2.9, (0.2, 0.8), b.uniform(25, 32))
    lamps(b, (0, 0.2, -0.3))


def _metal_thing(b: Set, material: int) -> None:
    """Add a turned stand, a block or an upright disc of the metal in the middle."""
    shape = b.pick("stand", "block", "disc")
    if shape == "stand":
        b.add(geometry.cylinder(material, (0, 0, -0.2), b.uniform(0.34, 0.44), b.uniform(0.10, 0.4), 0.02))
    elif shape == "block":
        b.add(
            geometry.box(
                material, (0, 0, -0.2), (b.uniform(0.6, 0.9), b.uniform(0.12, 0.35), 0.6), b.uniform(-0.5, 0.5), 0.015
            )
        )
    else:
        b.add(geometry.disc(material, (b.uniform(-0.2, 0.2), 0.45), -0.5, 0.04, 0.45))
