"""Scenes of cloth that is draped, hangs or lies flat."""

import math

import numpy as np

from pipelines.studio_tiny.render import geometry, noise, textures
from pipelines.studio_tiny.render.noise import Field, smooth, step, unit
from pipelines.studio_tiny.render.scenes.framing import DEEP, LINEN, OAK, PAINT, above, front, lamps
from pipelines.studio_tiny.render.sets import Set


def _folds(b: Set, side: int = 384) -> Field:
    """Return the heights of a fallen cloth: long ridges that meet, fade and cross."""
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


def _cloth(b: Set, bands: int) -> int:
    """Return a cloth material of `bands` colours."""
    colors = [b.pigment("cloth", *LINEN, *DEEP) for _ in range(bands)]
    satin = b.chance(0.5)
    texture = (
        textures.weave(b.rng, bands, 200, checked=False) if bands > 1 else textures.weave(b.rng, 1, 240, checked=False)
    )
    shine = {"specular": 0.05, "roughness": b.uniform(0.35, 0.5)} if satin else {}
    fine = 0.08 if satin else 0.35
    return b.material(
        colors[0],
        b.tone(colors[0], 0.62 if not satin else 0.85),
        *colors[1:4],
        texture=b.texture(texture),
        size=b.uniform(0.9, 1.3),
        bump=fine,
        turn=b.uniform(0, 3.14),
        **shine,
    )


def fabric(b: Set) -> None:
    """Build draped cloth, silk or linen, seen from above."""
    cloth = _cloth(b, min(4, b.colors))
    field = b.field(_folds(b))
    # If the cloth has stripes of several colours, high folds would hide some of them in shadow.
    height = b.uniform(0.45, 0.75) * (1.0 if b.colors < 3 else 0.6)
    b.add(geometry.relief(cloth, (0, 0, 0), (1, 0, 0), (0, 0, -1), (1.3, 1.3), height, field))
    if b.colors >= 5:
        b.add(geometry.box(b.paint("tray", *DEEP), (0.45, 0, 0.3), (0.6, height + 0.05, 0.6), 0.4))
    above(b, b.uniform(0.9, 1.3), b.pick(0.0, b.uniform(5, 35)))
    lamps(b, (0, height, 0), elevation=b.uniform(25, 45), distance=b.uniform(2.2, 3.5))


def curtain(b: Set) -> None:
    """Build a curtain that hangs to the floor in upright folds."""
    side = 384
    x, _ = noise.grid(side)
    warp = 0.35 * smooth(b.rng, 2, 1, side=side) + 0.06 * smooth(b.rng, 5, 2, side=side)
    count = b.uniform(9, 17)
    phase = (x * count + warp * 2.2) % 1
    ridge = np.sin(math.pi * phase) ** 0.9
    power = step(smooth(b.rng, count / 2, 1, side=side), -2.0, 0.6)
    field = b.field(unit(ridge * (0.4 + 0.6 * power) + 0.15 * smooth(b.rng, 3, 1.5, side=side)))
    cloth = _cloth(b, 1)
    b.add(geometry.relief(cloth, (0, 1.2, -1.0), (1, 0, 0), (0, 1, 0), (2.2, 1.2), b.uniform(0.12, 0.2), field))
    ground = b.pigment("floor", *PAINT, *OAK) if b.colors >= 2 or b.chance(0.6) else 0
    b.add(geometry.floor(b.material(ground, specular=b.pick(0.0, 0.04), roughness=0.15)))
    if b.colors >= 3:
        b.add(geometry.cylinder(b.paint("stand", *PAINT), (0, 0, -0.1), b.uniform(0.38, 0.48), b.uniform(0.25, 0.4)))
    for number in range(4, b.colors + 1):
        x0 = 0.72 if number == 4 else -0.72
        b.add(
            geometry.box(
                b.paint("block", *DEEP), (x0, 0, -0.25), (0.46, b.uniform(0.4, 0.7), 0.46), b.uniform(-0.4, 0.4)
            )
        )
    front(b, (0, b.uniform(0.45, 0.62), -0.8), 3.2, (0.0, 0.5), b.uniform(26, 33))
    lamps(b, (0, 0.5, -0.8), azimuth=b.pick(-1, 1) * b.uniform(45, 75))


def linen(b: Set) -> None:
    """Build coarse woven cloth that lies flat: plain, striped or checked."""
    bands = min(4, b.colors) if b.colors > 1 else b.pick(1, 1, 2)
    colors = [b.pigment("yarn", *LINEN) for _ in range(bands)]
    texture = textures.weave(b.rng, bands, b.pick(64, 84, 110), checked=bands > 1 and b.chance(0.4))
    skin = b.material(
        colors[0],
        b.tone(colors[0], 0.40),
        *colors[1:],
        texture=b.texture(texture),
        size=b.uniform(1.0, 1.4),
        bump=0.6,
        turn=b.pick(0.0, math.pi / 2, b.uniform(-0.6, 0.6)),
    )
    field = b.field(unit(smooth(b.rng, 3, side=256) + 0.5 * smooth(b.rng, 6, 2, side=256)))
    b.add(geometry.relief(skin, (0, 0, 0), (1, 0, 0), (0, 0, -1), (1.6, 1.6), b.uniform(0.02, 0.06), field))
    if b.colors >= 5:
        b.add(geometry.cylinder(b.paint("board", *OAK), (b.uniform(-0.2, 0.2), 0, 0), 0.3, 0.09))
    above(b, b.uniform(0.6, 0.9), b.pick(0.0, b.uniform(10, 40)))
    lamps(b, (0, 0, 0), elevation=b.uniform(20, 40), distance=b.uniform(2.0, 3.0))
