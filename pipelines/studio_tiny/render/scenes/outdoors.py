"""Scenes of water, sand and sky."""

import numpy as np

from pipelines.studio_tiny.render import geometry, noise, textures
from pipelines.studio_tiny.render.camera import Camera
from pipelines.studio_tiny.render.noise import fractal, smooth, step, unit
from pipelines.studio_tiny.render.scenes.framing import DEEP, PAINT, STONE, WHITE, above, front, lamps
from pipelines.studio_tiny.render.sets import Set


def water(b: Set) -> None:
    """Build clear rippled water with a net of light on its ground, perhaps with stones and a stand."""
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
    b.add(geometry.floor(skin))
    if b.colors >= 2:
        rim = b.paint("stone", *STONE, *PAINT)
        side = b.pick(-1, 1)
        b.add(geometry.box(rim, (side * 1.75, 0, 0), (2.6, 0.12, 8), b.uniform(-0.25, 0.25), 0.02))
    if b.colors >= 3 or b.chance(0.35):
        stand = b.paint("stand", *STONE, *PAINT)
        b.add(geometry.cylinder(stand, (b.uniform(-0.15, 0.15), 0, b.uniform(-0.1, 0.1)), 0.36, 0.14, 0.02))
    for number in range(4, b.colors + 1):
        paint = b.paint("block", *DEEP)
        b.add(
            geometry.box(
                paint,
                (b.uniform(-0.5, 0.1), 0, 0.5 if number == 4 else -0.55),
                (0.62, 0.1, 0.4),
                b.uniform(-0.5, 0.5),
                0.01,
            )
        )
    above(b, b.uniform(1.2, 1.8), b.uniform(0, 45))
    lamps(b, (0, 0, 0), elevation=b.uniform(40, 60))


def sand(b: Set) -> None:
    """Build wind-rippled sand with stones or an arch."""
    base = b.pigment("sand", "#e2cba6", "#d9bd94", "#ead9bd", "#cfae86", "#e8d3c0")
    texture = b.texture(textures.sand(b.rng, b.pick(0.0, 9.0, 14.0, 18.0)))
    skin = b.material(
        base, b.tone(base, 0.72), b.tone(base, 0.45), texture=texture, size=1.6, bump=0.55, turn=b.uniform(-0.4, 0.4)
    )
    dunes = b.field(unit(fractal(b.rng, 3, octaves=3, gain=0.35, side=256)))
    b.add(geometry.relief(skin, (0, -0.06, -1.0), (1, 0, 0), (0, 0, -1), (5, 4), b.uniform(0.12, 0.3), dunes))
    upright = b.colors >= 2 or b.chance(0.5)
    if upright:
        b.add(geometry.wall(b.paint("backdrop", *PAINT, "#d8e4ea", "#e8c8b0"), -2.2))
    if b.colors >= 3:
        first = b.paint("stand", *STONE, *PAINT)
        b.add(geometry.cylinder(first, (b.uniform(-0.1, 0.1), 0, -0.3), 0.4, b.uniform(0.25, 0.4), 0.015))
    if b.colors >= 4:
        b.add(geometry.arch(b.paint("arch", *DEEP), b.uniform(-0.4, 0.4), -0.9, 0.25, (0.55, 0.8), (0.36, 0.8)))
    if b.colors >= 5:
        b.add(geometry.disc(b.paint("sun", "#e8b070", "#d88c6a"), (-0.6, 1.0), -1.6, 0.03, 0.52))
    if b.colors < 3 and b.chance(0.6):
        stone = b.paint("stone", *STONE)
        for _ in range(int(b.rng.integers(1, 4))):
            radius = b.uniform(0.06, 0.16)
            b.add(geometry.sphere(stone, (b.uniform(-0.7, 0.7), radius * 0.55, b.uniform(-0.8, 0.2)), radius))
    if upright:
        front(b, (0, b.uniform(0.25, 0.4), -0.5), 2.9, (0.3, 0.8), b.uniform(26, 33))
    else:
        above(b, b.uniform(1.0, 1.4), b.uniform(5, 50))
    lamps(b, (0, 0.1, -0.4), elevation=b.uniform(14, 38), sun_blur=b.uniform(0.4, 1.0))


def _heavens(b: Set, cloudy: float) -> None:
    """Paint a sky: zenith (pigment 0), horizon (1), clouds (2) and their undersides (3)."""
    _, y = noise.grid()
    up = 1 - y
    # Zenith and horizon each get a band of their own, or neither would be seen as a colour.
    turn = b.uniform(0.2, 0.45)
    low = 1 - step(up, turn, turn + b.uniform(0.12, 0.3))
    shape = fractal(b.rng, 3.5, 9, octaves=7, gain=0.58) + 0.35 * fractal(b.rng, 2, 4, octaves=2)
    under = np.roll(shape, -9, axis=0)
    cloud = step(shape, cloudy, cloudy + 0.8) * step(up, 0.02, 0.12)
    shade = 0.6 * step(under - shape, -0.3, 0.8)
    rest = 1 - cloud
    b.sky = np.stack([rest * (1 - low), rest * low, cloud * (1 - shade), cloud * shade], axis=2).astype(np.float32)


def beach(b: Set) -> None:
    """Build sand, sea and sky."""
    zenith = b.pigment("sky", "#7db4de", "#8fc1e6", "#6fa3cf", "#9fb8d8")
    b.tone(zenith, 1.45)
    b.tone(b.pigment("cloud", *WHITE), 0.72)
    _heavens(b, b.uniform(0.0, 1.4))
    sea = b.pigment("sea", "#2f7f9f", "#3f9fb0", "#2a6a8c", "#5fb0b8")
    texture = b.texture(textures.water(b.rng, b.uniform(9, 14)))
    waves = b.material(
        sea, b.tone(sea, 1.3), b.tone(sea, 0.75), texture=texture, size=7.0, bump=0.05, specular=0.02, roughness=0.1
    )
    sand = b.pigment("sand", "#e2cba6", "#d9bd94", "#ead9bd", "#cfae86")
    grains = b.texture(textures.sand(b.rng, b.pick(0.0, 0.0, 12.0)))
    beach = b.material(sand, b.tone(sand, 0.8), b.tone(sand, 0.6), texture=grains, size=2.2, bump=0.35)
    foam = b.paint("foam", *WHITE)
    b.add(geometry.floor(waves, 0.0, 300.0))
    _, y = noise.grid(384)
    curve = 0.06 * smooth(b.rng, 2.5, 2.5, side=384) + 0.02 * smooth(b.rng, 7, 7, side=384)
    shore = b.field(unit((y * -1.0 + 1.0) * 0.9 + curve * step(y, 0.1, 0.5)))
    # The beach is a wedge that rises out of the water toward the camera. The foam is a flatter one that begins farther out.
    b.add(geometry.relief(beach, (0, -0.30, 0.1), (1, 0, 0), (0, 0, -1), (8, 3.4), 0.5, shore))
    lace = b.field(b.fields[shore] + 0.012 * fractal(b.rng, 24, octaves=3, side=384) * step(1 - y, 0.3, 0.4))
    b.add(geometry.relief(foam, (0, -0.060 + b.uniform(0.002, 0.004), 0.1), (1, 0, 0), (0, 0, -1), (8, 3.4), 0.1, lace))
    if b.colors >= 4:
        b.add(
            geometry.box(
                b.paint("stand", *PAINT), (b.uniform(-0.4, 0.4), 0, 1.0), (0.7, 0.42, 0.5), b.uniform(-0.4, 0.4)
            )
        )
    if b.colors >= 5:
        b.add(geometry.cylinder(b.paint("column", *DEEP), (b.pick(-0.75, 0.75), 0, 0.8), 0.28, 0.85))
    eye = b.uniform(0.7, 1.1)
    horizon_at = b.uniform(-0.12, 0.1)
    b.camera = Camera(
        eye=(b.uniform(-0.2, 0.2), eye, 4.2),
        target=(0, eye - 0.35 + horizon_at, 1.0),
        field_of_view=b.uniform(30, 38),
        aspect=b.aspect,
    )
    lamps(b, (0, 0.1, 1.2), elevation=b.uniform(18, 50), distance=8.0, softness=2.0)


def sky(b: Set) -> None:
    """Build clouds, with nothing below or with a still floor that mirrors them."""
    b.pigment("sky", "#7db4de", "#8fc1e6", "#6fa3cf", "#9fa8d8", "#e8b4a0")
    b.pigment("horizon", "#f0d8c0", "#e8e4dc", "#f4c8a8", "#dce8f0")
    b.tone(b.pigment("cloud", *WHITE, "#f8e4d8"), 0.72)
    _heavens(b, b.uniform(-0.6, 0.5))
    if b.colors >= 4 or b.chance(0.4):
        ground = b.pigment("floor", *PAINT)
        b.add(geometry.floor(b.material(ground, specular=0.25, roughness=0.04), 0.0, 300.0))
        tilt = b.uniform(-0.02, 0.12)
    else:
        tilt = b.uniform(0.22, 0.5)
    if b.colors >= 5:
        b.add(geometry.cylinder(b.paint("stand", *PAINT), (0, 0, -0.5), 0.5, 0.42))
    b.camera = Camera(
        eye=(0, 0.6, 3.0), target=(0, 0.6 + tilt * 3, 0), field_of_view=b.uniform(30, 44), aspect=b.aspect
    )
    lamps(b, (0, 0.2, -0.5))
