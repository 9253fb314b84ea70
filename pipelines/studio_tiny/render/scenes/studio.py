"""Scenes of a photographer's studio: paper, stands, steps, arches, niches, shelves."""

from pipelines.studio_tiny.render import geometry, textures
from pipelines.studio_tiny.render.scenes.framing import DEEP, OAK, PAINT, WHITE, backdrop, front, lamps
from pipelines.studio_tiny.render.sets import Set


def sweep(b: Set) -> None:
    """Build seamless paper. Further colours are sheets that hang before it or lie on it."""
    paper = b.pigment("paper", *PAINT, *DEEP)
    depth = b.uniform(1.2, 2.2)
    b.add(geometry.sweep(b.material(paper), depth, b.uniform(0.35, 1.0)))
    if b.colors >= 2:
        sheet = b.pigment("sheet", *PAINT)
        b.add(
            geometry.box(
                b.material(sheet),
                (b.uniform(-0.2, 0.2), 0, 0.6),
                (6, 0.006, b.uniform(1.5, 2.1)),
                b.uniform(-0.12, 0.12),
            )
        )
    side = b.pick(-1, 1)
    for number in range(3, b.colors + 1):
        panel = b.paint("panel", *DEEP)
        offset = side * (0.42 + 0.30 * (number - 3)) * (1 if number % 2 else -1) * max(1.0, b.aspect**0.5)
        size = (b.uniform(0.6, 0.8), b.uniform(0.9, 1.5), 0.02)
        b.add(geometry.box(panel, (offset, 0.0, -depth + 0.25 + 0.12 * number), size, b.uniform(-0.15, 0.15)))
    front(b, (0, b.uniform(0.28, 0.42), -0.2), 2.9, (0.1, 0.9), b.uniform(26, 34))
    lamps(b, (0, 0.2, -0.2), softness=b.uniform(0.5, 1.2))


def podium(b: Set) -> None:
    """Build one to four stands on paper, sometimes with a disc behind them."""
    depth = b.uniform(1.0, 1.8)
    backdrop(b, depth, two=b.colors >= 3 or b.chance(0.3))
    stands = max(1, b.colors - 2) if b.colors >= 3 else max(1, b.colors - 1) + int(b.chance(0.35))
    tall = b.uniform(0.22, 0.5)
    wide = 0.30 if stands > 1 else b.uniform(0.30, 0.42)
    fluted = b.chance(0.25)
    for number in range(stands):
        pigment = b.pigment("stand", *PAINT, *DEEP, *WHITE)
        options = {"specular": 0.03, "roughness": b.uniform(0.2, 0.6)} if b.chance(0.4) else {}
        if fluted:
            count = b.pick(10, 14, 18)
            ribs = b.texture(textures.flutes(count))
            stand = b.material(pigment, b.tone(pigment, 0.7), texture=ribs, size=1.0, bump=0.8, **options)
        else:
            stand = b.material(pigment, **options)
        x = (number - (stands - 1) / 2) * 2.0 * wide + b.uniform(-0.05, 0.05)
        z = b.uniform(-0.35, 0.1) if stands > 1 else -0.1
        height = tall * b.uniform(0.35, 1.25) if stands > 1 else tall
        shape = b.pick("round", "round", "square")
        if shape == "round":
            b.add(geometry.cylinder(stand, (x, 0, z), wide * b.uniform(0.85, 1.1), height, b.uniform(0.005, 0.02)))
            if b.chance(0.25):
                b.add(geometry.cylinder(stand, (x, height, z), wide * 0.68, 0.07, 0.008))
        else:
            size = wide * 1.7
            b.add(geometry.box(stand, (x, 0, z), (size, height, size), b.uniform(-0.6, 0.6), b.uniform(0.005, 0.02)))
    if b.colors >= 5 or b.chance(0.25):
        ring = b.paint("disc", *DEEP)
        b.add(
            geometry.disc(
                ring, (b.uniform(-0.35, 0.35), b.uniform(0.5, 0.75)), -depth + 0.25, 0.05, b.uniform(0.45, 0.6)
            )
        )
    front(b, (0, tall * 0.75 + 0.06, -0.15), 2.9, (0.25, 0.9), b.uniform(24, 30), b.pick(0.0, 0.02))
    lamps(b, (0, tall, -0.1))


def steps(b: Set) -> None:
    """Build stairs against a wall."""
    depth = 1.5
    backdrop(b, depth, two=b.colors >= 3)
    own = max(1, b.colors - (2 if b.colors >= 3 else 1))
    count = max(own, int(b.rng.integers(2, 5)))
    rise, tread = b.uniform(0.13, 0.22), b.uniform(0.24, 0.34)
    wide = b.uniform(0.7, 1.5)
    paints = [b.paint("step", *PAINT, *DEEP) for _ in range(own)]
    wander = b.uniform(-0.15, 0.15)
    round_ = b.chance(0.25)
    for number in range(count):
        height, back = rise * (number + 1), 0.35 - tread * number
        paint = paints[number % own]
        if round_:
            b.add(geometry.cylinder(paint, (0, rise * number, -0.3), 0.95 - number * 0.55 / count, rise, 0.008))
        else:
            b.add(
                geometry.box(paint, (wander * number, 0, (back - depth) / 2), (wide, height, back + depth), 0.0, 0.008)
            )
    height = rise * count
    front(b, (wander, height * 0.62, -0.2), 3.2, (0.4, 1.2), b.uniform(24, 30))
    lamps(b, (0, height * 0.6, 0))


def arch(b: Set) -> None:
    """Build standing arches, open or solid, perhaps with a plinth before them."""
    depth = b.uniform(1.3, 1.8)
    backdrop(b, depth, two=b.colors >= 4 or b.chance(0.3))
    own = max(1, b.colors - (2 if b.colors >= 4 else 1))
    outer = b.uniform(0.42, 0.6)
    spring = b.uniform(0.35, 0.75)
    shift = b.uniform(-0.25, 0.25)
    first = b.paint("arch", *PAINT, *DEEP)
    hollow = b.chance(0.6)
    b.add(
        geometry.arch(
            first, shift, -0.35, 0.3, (outer, spring), (outer - b.uniform(0.13, 0.2), spring) if hollow else (0, 0)
        )
    )
    if own >= 2:
        second = b.paint("plinth", *PAINT, *DEEP)
        height = b.uniform(0.16, 0.3)
        b.add(geometry.cylinder(second, (shift * 0.3, 0, 0.15), b.uniform(0.36, 0.46), height))
    if own >= 3:
        third = b.paint("second arch", *DEEP)
        side = b.pick(-1, 1)
        b.add(geometry.arch(third, shift + side * outer * 1.1, -0.75, 0.2, (outer, spring * 1.35), (0, 0)))
    elif b.chance(0.4):
        b.add(
            geometry.box(
                first, (shift + b.pick(-0.5, 0.5), 0, 0.0), (0.3, b.uniform(0.1, 0.35), 0.3), b.uniform(-0.5, 0.5)
            )
        )
    front(b, (0, (spring + outer) * 0.48, -0.3), 3.3, (0.1, 0.6), b.uniform(24, 30))
    lamps(b, (0, 0.4, -0.2))


def niche(b: Set) -> None:
    """Build a niche in a wall, arched or round, with its own back."""
    half, sill, spring = b.uniform(0.42, 0.6), b.uniform(0.0, 0.35), b.uniform(0.6, 0.95)
    thick = b.uniform(0.25, 0.5)
    face = b.pigment("wall", *PAINT, *DEEP)
    texture = b.texture(textures.plaster(b.rng)) if b.chance(0.6) else -1
    skin = b.material(face, b.tone(face, 0.82), texture=texture, size=2.2, bump=0.14)
    round_ = b.chance(0.25)
    b.add(geometry.opening(skin, thick, half, sill, spring, round_))
    inner = b.pigment("niche", *PAINT, *DEEP) if b.colors >= 2 else face
    b.add(geometry.wall(b.material(inner), -thick))
    ground = b.pigment("floor", *PAINT) if b.colors >= 3 else face
    b.add(geometry.floor(b.material(ground)))
    middle = spring if round_ else (sill + spring + half) / 2
    if b.colors >= 4:
        stand = b.paint("stand", *DEEP)
        b.add(geometry.cylinder(stand, (0, 0, 0.45), b.uniform(0.36, 0.44), b.uniform(0.2, 0.35)))
    if b.colors >= 5:
        block = b.paint("block", *DEEP)
        b.add(
            geometry.box(block, (b.pick(-1, 1) * 0.75, 0, 0.35), (0.5, b.uniform(0.5, 0.8), 0.5), b.uniform(-0.3, 0.3))
        )
    low = 0.15 if b.colors >= 3 else 0.0
    front(b, (b.uniform(-0.12, 0.12), middle * (0.82 if low else 1.0), 0), 3.4, (-0.05, 0.4), b.uniform(24, 32))
    lamps(b, (0, middle, 0), elevation=b.uniform(25, 50))


def shelf(b: Set) -> None:
    """Build a shelf on a wall, perhaps with a painted lower half."""
    upper = b.pigment("wall", *PAINT, *DEEP)
    texture = b.texture(textures.plaster(b.rng)) if b.chance(0.4) else -1
    b.add(geometry.wall(b.material(upper, b.tone(upper, 0.85), texture=texture, size=2.5, bump=0.1), 0))
    if b.colors >= 3:
        lower = b.paint("lower wall", *DEEP)
        b.add(geometry.box(lower, (0, -3, 0.0), (20, 3.0 + b.uniform(-0.05, 0.12), 0.03)))
    board = b.pigment("shelf", *OAK, *WHITE)
    thick = b.uniform(0.10, 0.16) if b.colors >= 2 else b.uniform(0.04, 0.1)
    deep = b.uniform(0.35, 0.55)
    if b.chance(0.6):
        grain = b.texture(textures.wood(b.rng, 2, 1))
        timber = b.material(board, b.tone(board, 0.45), b.tone(board, 0.3), texture=grain, size=1.4, bump=0.08)
    else:
        timber = b.material(board)
    b.add(
        geometry.box(
            timber, (b.pick(-0.3, 0.0, 0.3), -thick, deep / 2), (b.pick(1.6, 2.2, 8.0), thick, deep), 0.0, 0.006
        )
    )
    if b.colors >= 4:
        pot = b.paint("vase", *DEEP, specular=0.03, roughness=0.25)
        x = b.pick(-1, 1) * 0.5
        b.add(geometry.cylinder(pot, (x, 0, deep / 2), 0.19, b.uniform(0.4, 0.6), 0.04))
    if b.colors >= 5:
        tray = b.paint("book", *DEEP)
        b.add(
            geometry.box(tray, (-x * 0.9, 0, deep / 2), (0.5, b.uniform(0.26, 0.36), 0.3), b.uniform(-0.2, 0.2), 0.004)
        )
    front(b, (0, 0.18, 0.1), 2.6, (0.12, 0.55), b.uniform(24, 31))
    lamps(b, (0, 0.15, 0.1), elevation=b.uniform(35, 60))


def paper(b: Set) -> None:
    """Build layers of cut paper: discs and arches that cast soft shadows on each other."""
    b.add(geometry.wall(b.paint("sheet", *PAINT), -0.5))
    layers = max(b.colors - 1, int(b.rng.integers(2, 5)))
    style = b.pick("arches", "discs", "hills")
    shift = b.uniform(-0.3, 0.3)
    sheets = [b.paint("sheet", *PAINT, *DEEP) for _ in range(max(1, b.colors - 1))]
    for number in range(layers):
        sheet = sheets[number % len(sheets)]
        z = -0.42 + 0.09 * number
        part = 1 - number / layers
        if style == "arches":
            half = 0.22 + 0.62 * part
            b.add(geometry.arch(sheet, shift * part, z, 0.01, (half, 0.25 + 0.35 * part), (0, 0)))
        elif style == "discs":
            place = (shift + b.uniform(-0.12, 0.12) * number, 0.52 + b.uniform(-0.1, 0.1))
            b.add(geometry.disc(sheet, place, z, 0.01, 0.18 + 0.52 * part))
        else:
            radius = b.uniform(0.55, 0.9)
            place = (b.uniform(-0.8, 0.8), 0.05 + 0.35 * part - radius + 0.35)
            b.add(geometry.disc(sheet, place, z, 0.01, radius))
    front(b, (0, 0.5, -0.3), 2.9, (-0.1, 0.2), b.uniform(22, 28))
    lamps(b, (0, 0.5, -0.3), softness=b.uniform(0.3, 0.7))


def mirror(b: Set) -> None:
    """Build a dark or light mirror floor before a wall with a glowing panel."""
    back = b.pigment("wall", *DEEP, *PAINT)
    b.add(geometry.wall(b.material(back), -1.4))
    ground = b.pigment("floor", *DEEP) if b.colors >= 2 else back
    b.add(geometry.floor(b.material(ground, specular=0.12, roughness=b.uniform(0.02, 0.12))))
    panel = b.pigment("panel", "#fff2dc", "#f4f0ff", "#ffe0d0", "#e0f4ff")
    glow = b.material(panel, glow=1.0)
    if b.chance(0.5):
        b.add(geometry.disc(glow, (b.uniform(-0.2, 0.2), b.uniform(0.6, 0.8)), -1.3, 0.02, b.uniform(0.45, 0.6)))
    else:
        b.add(
            geometry.arch(glow, b.uniform(-0.2, 0.2), -1.3, 0.02, (b.uniform(0.4, 0.55), b.uniform(0.5, 0.8)), (0, 0))
        )
    if b.colors >= 4 or b.chance(0.4):
        b.add(
            geometry.cylinder(
                b.paint("stand", *DEEP, specular=0.05, roughness=0.15), (0, 0, -0.3), 0.42, b.uniform(0.2, 0.35)
            )
        )
    if b.colors >= 5:
        b.add(geometry.box(b.paint("block", *DEEP), (b.pick(-0.8, 0.8), 0, -0.6), (0.5, 0.9, 0.4), 0.3))
    front(b, (0, b.uniform(0.35, 0.5), -0.5), 3.0, (0.05, 0.5), b.uniform(26, 33))
    lamps(b, (0, 0.3, -0.4))
