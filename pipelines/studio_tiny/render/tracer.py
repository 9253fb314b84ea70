"""The tracer, which turns a set into layers of light: what each pigment would send to the camera under each lamp if white.

Light is linear, so a picture is a sum over pigments and lamps of (albedo × lamp colour × layer), and colours and lamps can
be chosen after the tracing. The lamps are a soft box, a sun or spot that may shine through a gobo, the dome of the room, an
accent from the side, and surfaces that glow. Light that bounces once keeps the pigment that it comes from.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipelines.studio_tiny.render import geometry
from pipelines.studio_tiny.render.denoise import without_noise
from pipelines.studio_tiny.render.layers import ACCENT, DOME, GLOW, LAMPS, SOFT, SUN, Layers
from pipelines.studio_tiny.render.light import GOBO
from pipelines.studio_tiny.render.rays import nearest
from pipelines.studio_tiny.render.sampling import around, pair, scramble
from pipelines.studio_tiny.render.sets import Set
from pipelines.studio_tiny.render.shading import TONES, box_light, bumped, room_seen, sky_at, sun_light, surface


class _World(NamedTuple):
    """A set as the arrays that the kernels read."""

    camera: NDArray[Any]
    kinds: NDArray[Any]
    rows: NDArray[Any]
    #: The material of each solid.
    owners: NDArray[Any]
    materials: NDArray[Any]
    textures: NDArray[Any]
    fields: NDArray[Any]
    lamps: NDArray[Any]
    gobo: NDArray[Any]
    sky: NDArray[Any]


class _Bench(NamedTuple):
    """Small arrays that are made once, and that the kernels write to."""

    #: Weights of the pigments of the surface that is seen, and of another from which light comes.
    tones: NDArray[Any]
    other: NDArray[Any]
    texel: NDArray[Any]
    shade: NDArray[Any]
    above: NDArray[Any]


class _Pixel(NamedTuple):
    """One pixel of every layer."""

    direct: NDArray[Any]
    gloss: NDArray[Any]
    bounce: NDArray[Any]
    cover: NDArray[Any]
    #: The mean normal (3), depth, and number of the solid.
    features: NDArray[Any]


def trace(built: Set, samples: int = 16) -> Layers:
    """Return the layers of a set, from `samples` rays a pixel, a power of two."""
    kinds, rows, owners = geometry.table(built.solids)
    world = _World(
        camera=built.camera.table(),
        kinds=kinds,
        rows=rows,
        owners=owners,
        materials=built.material_table(),
        textures=np.stack(built.textures) if built.textures else np.zeros((1, 2, 2, 6), np.float32),
        fields=np.stack(built.fields).astype(np.float32) if built.fields else np.zeros((1, 2, 2), np.float32),
        lamps=built.rig.table(),
        gobo=np.ones((GOBO, GOBO, 1), np.float32) if built.gobo is None else built.gobo,
        sky=built.sky_picture(),
    )
    direct, gloss, bounce, cover, features = _trace(
        world, built.width, built.height, samples, built.seed & 0x7FFFFFFF, len(built.pigments)
    )
    direct, gloss, bounce = without_noise(direct, gloss, bounce, cover, features)
    if built.leaves is not None:
        _hide(built.leaves, direct, gloss, bounce, cover)
    return Layers(
        direct=direct, gloss=gloss, bounce=bounce, cover=cover, depth=features[..., 3], gobo=built.gobo is not None
    )


def _hide(leaves: Any, direct: Any, gloss: Any, bounce: Any, cover: Any) -> None:
    """Put leaves, which are far out of focus, before everything. The last pigment is theirs."""
    left = 1 - leaves
    direct *= left[..., None, None]
    for layer in (gloss, bounce, cover):
        np.multiply(layer, left[..., None], out=layer)
    cover[..., -1] += leaves
    direct[..., -1, :] += leaves[..., None] * np.array([0.5, 0.4, 0.7, 0.3, 0.0], np.float32)


@njit(cache=True, fastmath=True)
def _trace(world: Any, width: Any, height: Any, samples: Any, seed: Any, pigments: Any) -> Any:
    direct = np.zeros((height, width, pigments, LAMPS), np.float32)
    gloss = np.zeros((height, width, LAMPS), np.float32)
    bounce = np.zeros((height, width, pigments), np.float32)
    cover = np.zeros((height, width, pigments), np.float32)
    features = np.zeros((height, width, 5), np.float32)
    bench = _Bench(np.zeros(TONES), np.zeros(TONES), np.zeros(8), np.zeros(1), np.zeros(max(1, world.sky.shape[2])))
    for y in range(height):
        for x in range(width):
            key = scramble((y * width + x + seed * 7919) & 0xFFFFFFFF)
            pixel = _Pixel(direct[y, x], gloss[y, x], bounce[y, x], cover[y, x], features[y, x])
            for sample in range(samples):
                _sample(world, bench, pixel, width, height, x, y, key, sample, samples)
    return direct, gloss, bounce, cover, features


@njit(cache=True, fastmath=True)
def _sample(
    world: Any, bench: Any, pixel: Any, width: Any, height: Any, x: Any, y: Any, key: Any, sample: Any, samples: Any
) -> None:
    """Add one ray's light to a pixel."""
    share = 1.0 / samples
    a, b = pair(sample, 0, key, samples)
    c, d = pair(sample, 1, key, samples)
    ox, oy, oz, dx, dy, dz = _eye_ray(world.camera, 2 * (x + a) / width - 1, 1 - 2 * (y + b) / height, c, d)
    index, distance, nx, ny, nz, u, v = nearest(world.kinds, world.rows, world.fields, ox, oy, oz, dx, dy, dz)
    if index < 0:
        pixel.features[3] += 40 * share
        pixel.features[4] -= share
        if world.sky.shape[2] > 0:
            sky_at(world.sky, dx, dy, dz, bench.above)
            for k in range(len(pixel.cover)):
                pixel.direct[k, GLOW] += bench.above[k] * share
                pixel.cover[k] += bench.above[k] * share
        return
    pixel.features[3] += distance * share
    pixel.features[4] += index * share
    material = world.materials[world.owners[index]]
    du, dv = surface(material, world.textures, u, v, bench.tones, bench.texel)
    for k in range(TONES):
        if bench.tones[k] > 0:
            pixel.cover[int(material[10 + k])] += bench.tones[k] * share
            pixel.direct[int(material[10 + k]), GLOW] += bench.tones[k] * material[9] * share
    if material[9] > 0:
        return
    # Far away bumps are finer than a pixel, so they even out.
    fade = 1.0 / (1.0 + (distance / 9.0) ** 2)
    mx, my, mz = bumped(nx, ny, nz, du * fade, dv * fade)
    if mx * dx + my * dy + mz * dz > -0.02:
        mx, my, mz = nx, ny, nz
    pixel.features[0] += mx * share
    pixel.features[1] += my * share
    pixel.features[2] += mz * share
    px, py, pz = ox + distance * dx + 0.002 * nx, oy + distance * dy + 0.002 * ny, oz + distance * dz + 0.002 * nz
    a, b = pair(sample, 2, key, samples)
    from_soft = box_light(world.lamps[0], world.kinds, world.rows, world.fields, px, py, pz, mx, my, mz, a, b)
    a, b = pair(sample, 3, key, samples)
    from_sun = sun_light(
        world.lamps[1], world.gobo, world.kinds, world.rows, world.fields, px, py, pz, mx, my, mz, a, b, bench.shade
    )
    a, b = pair(sample, 4, key, samples)
    from_accent = box_light(world.lamps[2], world.kinds, world.rows, world.fields, px, py, pz, mx, my, mz, a, b)
    from_dome = _bounced(world, bench, pixel, px, py, pz, mx, my, mz, key, sample, samples)
    if material[7] > 0:
        facing = max(0.0, -(dx * mx + dy * my + dz * mz))
        fresnel = material[7] + (1 - material[7]) * (1 - facing) ** 5 * (1 - material[8])
        metal = material[15]
        seen = _reflected(
            world, bench, pixel, metal, material[8], fresnel, px, py, pz, mx, my, mz, dx, dy, dz, key, sample, samples
        )
        if metal > 0:
            from_soft, from_sun, from_accent, from_dome = 0.3 * from_soft, 0.3 * from_sun, 0.5 * from_accent, seen
        _highlights(
            world.lamps, pixel, material[8], fresnel * share, from_soft, from_sun, from_accent,
            px, py, pz, mx, my, mz, dx, dy, dz,
        )  # fmt: skip
    for k in range(TONES):
        if bench.tones[k] > 0:
            layer = pixel.direct[int(material[10 + k])]
            weight = bench.tones[k] * share
            layer[SOFT] += weight * from_soft
            layer[SUN] += weight * from_sun
            layer[DOME] += weight * from_dome
            layer[ACCENT] += weight * from_accent


@njit(cache=True, fastmath=True)
def _eye_ray(camera: Any, across: Any, up: Any, a: Any, b: Any) -> Any:
    """Return the ray from point a, b (0–1) of the lens, through the point in focus at a place in the frame (−1 … 1)."""
    sx, sy = across * camera[12], up * camera[13]
    dx = camera[9] + sx * camera[3] + sy * camera[6]
    dy = camera[10] + sx * camera[4] + sy * camera[7]
    dz = camera[11] + sx * camera[5] + sy * camera[8]
    radius, angle = math.sqrt(a) * camera[14], 6.2831853 * b
    p, q = radius * math.cos(angle), radius * math.sin(angle)
    lx = p * camera[3] + q * camera[6]
    ly = p * camera[4] + q * camera[7]
    lz = p * camera[5] + q * camera[8]
    dx, dy, dz = dx - lx / camera[15], dy - ly / camera[15], dz - lz / camera[15]
    norm = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
    return camera[0] + lx, camera[1] + ly, camera[2] + lz, dx * norm, dy * norm, dz * norm


@njit(cache=True, fastmath=True)
def _bounced(
    world: Any, bench: Any, pixel: Any, px: Any, py: Any, pz: Any, nx: Any, ny: Any, nz: Any,
    key: Any, sample: Any, samples: Any,
) -> Any:  # fmt: skip
    """Look in a random direction, likelier if its light counts more; add a surface's light, or return the dome's."""
    a, b = pair(sample, 5, key, samples)
    radius, angle = math.sqrt(a), 6.2831853 * b
    tx, ty, tz, bx, by, bz = around(nx, ny, nz)
    p, q, r = radius * math.cos(angle), radius * math.sin(angle), math.sqrt(1 - a)
    ex, ey, ez = p * tx + q * bx + r * nx, p * ty + q * by + r * ny, p * tz + q * bz + r * nz
    hit, reach, ax, ay, az, u, v = nearest(world.kinds, world.rows, world.fields, px, py, pz, ex, ey, ez)
    if hit < 0 or reach > 25:
        return 0.55 + 0.45 * ey + 0.15 * ez
    material = world.materials[world.owners[hit]]
    surface(material, world.textures, u, v, bench.other, bench.texel)
    hx, hy, hz = px + reach * ex + 0.002 * ax, py + reach * ey + 0.002 * ay, pz + reach * ez + 0.002 * az
    a, b = pair(sample, 6, key, samples)
    soft = box_light(world.lamps[0], world.kinds, world.rows, world.fields, hx, hy, hz, ax, ay, az, a, b)
    light = (0.25 + 0.75 * soft + material[9]) / samples
    for k in range(TONES):
        if bench.other[k] > 0:
            pixel.bounce[int(material[10 + k])] += bench.other[k] * light
    return 0.0


@njit(cache=True, fastmath=True)
def _reflected(
    world: Any, bench: Any, pixel: Any, metal: Any, roughness: Any, fresnel: Any, px: Any, py: Any, pz: Any,
    nx: Any, ny: Any, nz: Any, dx: Any, dy: Any, dz: Any, key: Any, sample: Any, samples: Any,
) -> Any:  # fmt: skip
    """Add the reflections of set, sky and room on a glossy surface. For a metal return their brightness instead."""
    a, b = pair(sample, 7, key, samples)
    bend = 2 * (dx * nx + dy * ny + dz * nz)
    rx, ry, rz = dx - bend * nx, dy - bend * ny, dz - bend * nz
    spread = roughness * math.sqrt(a / max(1e-6, 1.02 - a)) * 0.6
    tx, ty, tz, bx, by, bz = around(rx, ry, rz)
    p, q = spread * math.cos(6.2831853 * b), spread * math.sin(6.2831853 * b)
    # Brushed metal smears its reflections along one axis.
    rx, ry, rz = rx + p * tx + q * bx, ry + (p * ty + q * by) * (1.0 + 4.0 * metal), rz + p * tz + q * bz
    norm = 1.0 / math.sqrt(rx * rx + ry * ry + rz * rz)
    rx, ry, rz = rx * norm, ry * norm, rz * norm
    hit, reach, ax, ay, az, u, v = nearest(world.kinds, world.rows, world.fields, px, py, pz, rx, ry, rz)
    weight = fresnel / samples
    if hit < 0 or reach > 25:
        if metal > 0:
            return room_seen(world.lamps[0], px, py, pz, rx, ry, rz)
        if world.sky.shape[2] > 0:
            sky_at(world.sky, rx, abs(ry), rz, bench.above)
            for k in range(len(pixel.cover)):
                pixel.direct[k, GLOW] += bench.above[k] * weight
        else:
            pixel.gloss[DOME] += weight * (0.35 + 0.5 * max(0.0, ry))
        return 0.0
    hx, hy, hz = px + reach * rx + 0.002 * ax, py + reach * ry + 0.002 * ay, pz + reach * rz + 0.002 * az
    a, b = pair(sample, 8, key, samples)
    light = box_light(world.lamps[0], world.kinds, world.rows, world.fields, hx, hy, hz, ax, ay, az, a, b)
    if metal > 0:
        return 0.10 + 0.5 * light + 0.4 * room_seen(world.lamps[0], px, py, pz, rx, ry, rz)
    material = world.materials[world.owners[hit]]
    surface(material, world.textures, u, v, bench.other, bench.texel)
    for k in range(TONES):
        if bench.other[k] > 0:
            layer = pixel.direct[int(material[10 + k])]
            layer[SOFT] += bench.other[k] * weight * light
            layer[SUN] += bench.other[k] * weight * light
            layer[DOME] += bench.other[k] * weight * 0.5
            layer[GLOW] += bench.other[k] * weight * material[9]
    return 0.0


@njit(cache=True, fastmath=True)
def _highlights(
    lamps: Any, pixel: Any, roughness: Any, weight: Any, from_soft: Any, from_sun: Any, from_accent: Any,
    px: Any, py: Any, pz: Any, nx: Any, ny: Any, nz: Any, dx: Any, dy: Any, dz: Any,
) -> None:  # fmt: skip
    """Add the soft highlight of each lamp that reaches the point. Rays that meet a lamp only by chance would be noisy."""
    tight = 2.0 / max(0.0025, (roughness * 0.8) ** 2)
    strength = weight * min(4.0, tight * 0.05)
    for number in range(3):
        lamp = lamps[number]
        lit = from_soft if number == 0 else (from_sun if number == 1 else from_accent)
        if lit <= 0:
            continue
        lx, ly, lz = lamp[0], lamp[1], lamp[2]
        if number != 1:
            lx, ly, lz = lx - px, ly - py, lz - pz
        norm = 1.0 / math.sqrt(lx * lx + ly * ly + lz * lz)
        hx, hy, hz = lx * norm - dx, ly * norm - dy, lz * norm - dz
        half = math.sqrt(hx * hx + hy * hy + hz * hz)
        peak = max(0.0, (hx * nx + hy * ny + hz * nz) / half)
        pixel.gloss[SOFT if number == 0 else (SUN if number == 1 else ACCENT)] += strength * peak**tight
