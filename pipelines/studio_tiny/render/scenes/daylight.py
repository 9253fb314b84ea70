"""Scenes made by shadows, of a window or of leaves."""

from pipelines.studio_tiny.render import geometry, light, textures
from pipelines.studio_tiny.render.scenes.framing import DEEP, OAK, PAINT, backdrop, floorboards, front, lamps
from pipelines.studio_tiny.render.sets import Set


def window(b: Set) -> None:
    """Build a wall and a floor with the light of a window or of blinds on them."""
    upper = b.pigment("wall", *PAINT, *DEEP)
    texture = b.texture(textures.plaster(b.rng)) if b.chance(0.3) else -1
    b.add(geometry.wall(b.material(upper, b.tone(upper, 0.85), texture=texture, size=2.5, bump=0.08), -0.9))
    ground = b.pigment("floor", *OAK, *PAINT) if b.colors >= 2 or b.chance(0.4) else upper
    b.add(geometry.floor(floorboards(b, ground) if b.chance(0.4) else b.material(ground)))
    if b.colors >= 3:
        b.add(
            geometry.box(
                b.paint("plinth", *PAINT),
                (b.uniform(-0.3, 0.3), 0, -0.3),
                (0.7, b.uniform(0.3, 0.5), 0.5),
                b.uniform(-0.3, 0.3),
            )
        )
    elif b.chance(0.3):
        b.add(geometry.box(b.material(upper), (b.uniform(-0.3, 0.3), 0, -0.4), (0.6, b.uniform(0.15, 0.4), 0.5)))
    if b.colors >= 4:
        b.add(geometry.box(b.paint("dado", *DEEP), (0, 0, -0.93), (20, b.uniform(0.45, 0.6), 0.1)))
    if b.colors >= 5:
        b.add(geometry.cylinder(b.paint("stool", *DEEP), (b.pick(-0.75, 0.75), 0, -0.2), 0.27, b.uniform(0.5, 0.75)))
    b.gobo = light.blinds(b.rng) if b.chance(0.3) else light.window(b.rng)
    front(b, (0, b.uniform(0.42, 0.6), -0.7), 3.1, (0.0, 0.5), b.uniform(26, 34))
    lamps(
        b,
        (b.uniform(-0.25, 0.25), b.uniform(0.4, 0.6), -0.9),
        azimuth=b.pick(-1, 1) * b.uniform(25, 65),
        elevation=b.uniform(18, 45),
        gobo_size=b.uniform(0.55, 0.85),
        gobo_distance=b.uniform(1.5, 3.0),
        sun_blur=b.uniform(0.12, 0.5),
        gobo_shift=(b.uniform(-0.12, 0.12), b.uniform(-0.1, 0.1)),
    )


def foliage(b: Set) -> None:
    """Build the shadows of leaves on a wall and its floor."""
    backdrop(b, 0.9, two=b.colors >= 2)
    for number in range(3, b.colors + 1):
        paint = b.paint("stand", *PAINT, *DEEP)
        x = (0.0, -0.62, 0.62)[number - 3]
        b.add(geometry.cylinder(paint, (x, 0, -0.15 - 0.1 * number), 0.34, b.uniform(0.3, 0.6), 0.01))
    if b.colors < 3 and b.chance(0.4):
        b.add(
            geometry.cylinder(
                b.paint("stand", *PAINT), (b.uniform(-0.2, 0.2), 0, -0.1), b.uniform(0.3, 0.4), b.uniform(0.1, 0.35)
            )
        )
    b.gobo = light.leaves(b.rng)
    front(b, (0, b.uniform(0.38, 0.55), -0.6), 3.0, (0.05, 0.6), b.uniform(25, 32))
    lamps(
        b,
        (0, 0.45, -0.7),
        azimuth=b.pick(-1, 1) * b.uniform(20, 60),
        elevation=b.uniform(22, 48),
        gobo_size=b.uniform(0.9, 1.3),
        gobo_distance=b.uniform(0.6, 1.8),
        sun_blur=b.uniform(0.3, 1.4),
        gobo_outside=1.0,
    )
