"""Trace a set into layers of light: what each pigment would send to the camera under each lamp, were it white.

Light is linear, so a picture is a sum over pigments and lamps of (albedo × lamp colour × layer), and colours and lamps can
be chosen after the tracing. Lamps: a soft box, a sun or spot that may shine through a gobo, the dome of the room, an accent
from the side, and what glows by itself. Light that bounces once keeps the pigment it comes from.
"""

import math
from typing import Any

import numpy as np
from numba import njit, prange

from pipelines.studio_tiny.render.geometry import FAR, blocked, nearest
from pipelines.studio_tiny.render.layers import Layers
from pipelines.studio_tiny.render.sets import Set

SOFT, SUN, DOME, ACCENT, GLOW = range(5)
LAMPS = 5
_TONES = 5


def trace(built: Set, samples: int = 16) -> Layers:
    """Return the layers of a set; `samples` a pixel, a power of two. About 3 s of one core at 512 × 512 and 16 samples."""
    kinds, rows, owners = built.solid_table()
    direct, gloss, bounce, cover, features = _trace(
        built.width,
        built.height,
        samples,
        built.seed & 0x7FFFFFFF,
        built.camera.table(),
        kinds,
        rows,
        owners,
        built.material_table(),
        built.texture_stack(),
        built.field_stack(),
        built.lamp_table(),
        built.gobo_picture(),
        built.sky_picture(),
        len(built.pigments),
    )
    direct, gloss, bounce = _smooth(direct, gloss, bounce, cover, features)
    if built.leaves is not None:
        _hide(built.leaves, direct, gloss, bounce, cover)
    return Layers(
        direct=direct, gloss=gloss, bounce=bounce, cover=cover, depth=features[..., 3], gobo=built.gobo is not None
    )


def _hide(leaves: Any, direct: Any, gloss: Any, bounce: Any, cover: Any) -> None:
    """Put leaves that are far out of focus before everything; the last pigment is theirs."""
    for layer in (direct, gloss, bounce, cover):
        layer *= (1 - leaves).reshape(*leaves.shape, *[1] * (layer.ndim - 2))
    cover[..., -1] += leaves
    direct[..., -1, :] += leaves[..., None] * np.array([0.5, 0.4, 0.7, 0.3, 0.0], np.float32)


# ── numbers without a pattern: Sobol's first two dimensions, scrambled for each pixel and purpose ────────────────────────


@njit(cache=True)
def _hash(x: Any) -> Any:
    x = (x ^ 61) ^ (x >> 16)
    x = (x + (x << 3)) & 0xFFFFFFFF
    x = x ^ (x >> 4)
    x = (x * 0x27D4EB2D) & 0xFFFFFFFF
    return x ^ (x >> 15)


@njit(cache=True)
def _pair(index: Any, purpose: Any, pixel: Any, samples: Any) -> Any:
    """Return sample `index` of a stratified pair in 0–1."""
    key = _hash((pixel * 16 + purpose) & 0xFFFFFFFF)
    i = index ^ (key & (samples - 1))
    first, second, direction = 0, 0, 0x80000000
    j, bit = i, 0x80000000
    while j:
        if j & 1:
            first ^= bit
            second ^= direction
        j >>= 1
        bit >>= 1
        direction ^= direction >> 1
    first ^= _hash(key ^ 0x68BC21EB)
    second ^= _hash(key ^ 0x02E5BE93)
    return (first + 0.5) * 2.3283064365386963e-10, (second + 0.5) * 2.3283064365386963e-10


@njit(cache=True, fastmath=True)
def _around(nx: Any, ny: Any, nz: Any) -> Any:
    """Return two axes square to a unit vector (Duff et al. 2017)."""
    sign = 1.0 if nz >= 0 else -1.0
    a = -1.0 / (sign + nz)
    b = nx * ny * a
    return 1.0 + sign * nx * nx * a, sign * b, -sign * nx, b, sign + ny * ny * a, -ny


@njit(cache=True, fastmath=True)
def _lookup(picture: Any, u: Any, v: Any, out: Any) -> None:
    """Read a picture (side, side, channels) at u, v, mirrored beyond its edges, between its pixels."""
    side = picture.shape[0]
    x, y = abs(u) * side, abs(v) * side
    i, j = int(x), int(y)
    fx, fy = x - i, y - j
    i0, i1, j0, j1 = _mirror(i, side), _mirror(i + 1, side), _mirror(j, side), _mirror(j + 1, side)
    a, b, c, d = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    for k in range(picture.shape[2]):
        out[k] = a * picture[j0, i0, k] + b * picture[j0, i1, k] + c * picture[j1, i0, k] + d * picture[j1, i1, k]


@njit(cache=True)
def _mirror(i: Any, side: Any) -> Any:
    i = i % (2 * side)
    return i if i < side else 2 * side - 1 - i


@njit(cache=True, fastmath=True)
def _surface(material: Any, textures: Any, u: Any, v: Any, tones: Any, scratch: Any) -> Any:
    """Fill `tones` with the weights of a material's pigments at u, v; return the slopes of its bumps."""
    for k in range(_TONES):
        tones[k] = 0.0
    tones[0] = 1.0
    texture = int(material[0])
    if texture < 0:
        return 0.0, 0.0
    cos, sin = material[4], material[5]
    a = (cos * u - sin * v) * material[1] + material[2]
    b = (sin * u + cos * v) * material[1] + material[3]
    _lookup(textures[texture], a, b, scratch)
    left = 1.0
    for k in range(1, _TONES):
        tones[k] = scratch[k - 1]
        left -= scratch[k - 1]
    tones[0] = max(0.0, left)
    # Beyond an edge the picture is mirrored, and so are its slopes.
    du = scratch[4] * (1.0 if a >= 0 else -1.0)
    dv = scratch[5] * (1.0 if b >= 0 else -1.0)
    if int(abs(a)) % 2 == 1:
        du = -du
    if int(abs(b)) % 2 == 1:
        dv = -dv
    return (cos * du + sin * dv) * material[6], (-sin * du + cos * dv) * material[6]


@njit(cache=True, fastmath=True)
def _bumped(nx: Any, ny: Any, nz: Any, du: Any, dv: Any) -> Any:
    if du == 0.0 and dv == 0.0:
        return nx, ny, nz
    if abs(ny) > 0.7:
        tx, ty, tz, bx, by, bz = 1.0, 0.0, 0.0, 0.0, 0.0, -1.0
    else:
        norm = 1.0 / max(1e-9, math.sqrt(nx * nx + nz * nz))
        tx, ty, tz, bx, by, bz = nz * norm, 0.0, -nx * norm, 0.0, 1.0, 0.0
    mx, my, mz = nx - du * tx - dv * bx, ny - du * ty - dv * by, nz - du * tz - dv * bz
    norm = 1.0 / math.sqrt(mx * mx + my * my + mz * mz)
    return mx * norm, my * norm, mz * norm


@njit(cache=True, fastmath=True)
def _box_light(
    lamp: Any, kinds: Any, rows: Any, fields: Any, px: Any, py: Any, pz: Any, nx: Any, ny: Any, nz: Any, a: Any, b: Any
) -> Any:
    """Return the irradiance from a point a, b (0–1) of a rectangular lamp."""
    s, t = 2 * a - 1, 2 * b - 1
    lx = lamp[0] + s * lamp[3] + t * lamp[6] - px
    ly = lamp[1] + s * lamp[4] + t * lamp[7] - py
    lz = lamp[2] + s * lamp[5] + t * lamp[8] - pz
    square = lx * lx + ly * ly + lz * lz
    distance = math.sqrt(square)
    lx, ly, lz = lx / distance, ly / distance, lz / distance
    facing = nx * lx + ny * ly + nz * lz
    if facing <= 0:
        return 0.0
    leaving = -(lx * lamp[9] + ly * lamp[10] + lz * lamp[11])
    if leaving <= 0 or blocked(kinds, rows, fields, px, py, pz, lx, ly, lz, distance):
        return 0.0
    return lamp[12] * facing * leaving / square


@njit(cache=True, fastmath=True)
def _sun_light(
    lamp: Any, gobo: Any, kinds: Any, rows: Any, fields: Any, px: Any, py: Any, pz: Any,
    nx: Any, ny: Any, nz: Any, a: Any, b: Any, shade: Any,
) -> Any:  # fmt: skip
    """Return the irradiance from a point a, b (0–1) of the sun's disc, through the gobo if there is one."""
    radius, angle = math.sqrt(a) * lamp[3], 6.2831853 * b
    ux, uy, uz, vx, vy, vz = lamp[4], lamp[5], lamp[6], lamp[7], lamp[8], lamp[9]
    s, t = radius * math.cos(angle), radius * math.sin(angle)
    lx, ly, lz = lamp[0] + s * ux + t * vx, lamp[1] + s * uy + t * vy, lamp[2] + s * uz + t * vz
    norm = 1.0 / math.sqrt(lx * lx + ly * ly + lz * lz)
    lx, ly, lz = lx * norm, ly * norm, lz * norm
    facing = nx * lx + ny * ly + nz * lz
    if facing <= 0:
        return 0.0
    light = lamp[10]
    if lamp[11] > 0.5:
        # The gobo stands at some distance toward the sun, so the disc's edge blurs it.
        gap = lamp[12] - (px * lamp[0] + py * lamp[1] + pz * lamp[2])
        qx, qy, qz = px + gap * lx, py + gap * ly, pz + gap * lz
        across = (qx * ux + qy * uy + qz * uz - lamp[14]) / lamp[13]
        along = (qx * vx + qy * vy + qz * vz - lamp[15]) / lamp[13]
        if abs(across) >= 1 or abs(along) >= 1:
            light *= lamp[16]
        else:
            _lookup(gobo, (across + 1) / 2, (1 - along) / 2, shade)
            light *= shade[0]
    if light <= 0.0 or blocked(kinds, rows, fields, px, py, pz, lx, ly, lz, FAR):
        return 0.0
    return light * facing


@njit(cache=True, fastmath=True)
def _sky(sky: Any, dx: Any, dy: Any, dz: Any, out: Any) -> None:
    """Read the sky's pigments in a direction: a picture of 100° by 50° ahead, mirrored beyond."""
    across = math.atan2(dx, -dz) / 1.745 + 0.5
    up = math.asin(min(1.0, max(-1.0, dy))) / 0.8727
    _lookup(sky, across, 1 - min(0.999, max(0.001, up)), out)


@njit(cache=True, fastmath=True)
def _room(lamp: Any, px: Any, py: Any, pz: Any, dx: Any, dy: Any, dz: Any) -> Any:
    """Return what a metal sees of the room in a direction: dark walls, a pale ceiling, the wide glow of the soft box."""
    lx, ly, lz = lamp[0] - px, lamp[1] - py, lamp[2] - pz
    norm = 1.0 / math.sqrt(lx * lx + ly * ly + lz * lz)
    toward = max(0.0, (lx * dx + ly * dy + lz * dz) * norm)
    return 0.12 + 0.45 * max(0.0, dy) + 3.0 * toward**14 + 0.5 * (1.0 if dx * lx < -0.3 * norm else 0.0)


@njit(cache=True, fastmath=True, parallel=False)
def _trace(
    width: Any, height: Any, samples: Any, seed: Any, camera: Any, kinds: Any, rows: Any, owners: Any, materials: Any,
    textures: Any, fields: Any, lamps: Any, gobo: Any, sky: Any, pigments: Any,
) -> Any:  # fmt: skip
    direct = np.zeros((height, width, pigments, LAMPS), np.float32)
    gloss = np.zeros((height, width, LAMPS), np.float32)
    bounce = np.zeros((height, width, pigments), np.float32)
    cover = np.zeros((height, width, pigments), np.float32)
    features = np.zeros((height, width, 5), np.float32)
    has_sky = sky.shape[2] > 0
    soft, sun, accent = lamps[0], lamps[1], lamps[2]
    share = 1.0 / samples
    for row in prange(height):
        tones = np.zeros(_TONES)
        other = np.zeros(_TONES)
        scratch = np.zeros(8)
        shade = np.zeros(1)
        above = np.zeros(max(1, sky.shape[2]))
        for column in range(width):
            pixel = _hash((row * width + column + seed * 7919) & 0xFFFFFFFF)
            for sample in range(samples):
                # The eye ray, from a point of the lens through the point in focus.
                jx, jy = _pair(sample, 0, pixel, samples)
                sx = (2 * (column + jx) / width - 1) * camera[12]
                sy = (1 - 2 * (row + jy) / height) * camera[13]
                dx = camera[9] + sx * camera[3] + sy * camera[6]
                dy = camera[10] + sx * camera[4] + sy * camera[7]
                dz = camera[11] + sx * camera[5] + sy * camera[8]
                ox, oy, oz = camera[0], camera[1], camera[2]
                if camera[14] > 0:
                    a, b = _pair(sample, 1, pixel, samples)
                    radius, angle = math.sqrt(a) * camera[14], 6.2831853 * b
                    p, q = radius * math.cos(angle), radius * math.sin(angle)
                    mx = p * camera[3] + q * camera[6]
                    my = p * camera[4] + q * camera[7]
                    mz = p * camera[5] + q * camera[8]
                    ox, oy, oz = ox + mx, oy + my, oz + mz
                    dx, dy, dz = dx - mx / camera[15], dy - my / camera[15], dz - mz / camera[15]
                norm = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
                dx, dy, dz = dx * norm, dy * norm, dz * norm
                index, distance, nx, ny, nz, u, v = nearest(kinds, rows, fields, ox, oy, oz, dx, dy, dz)
                if index < 0:
                    features[row, column, 3] += 40 * share
                    features[row, column, 4] -= share
                    if has_sky:
                        _sky(sky, dx, dy, dz, above)
                        for k in range(pigments):
                            direct[row, column, k, GLOW] += above[k] * share
                            cover[row, column, k] += above[k] * share
                    continue
                material = materials[owners[index]]
                du, dv = _surface(material, textures, u, v, tones, scratch)
                glow = material[9]
                px, py, pz = ox + distance * dx, oy + distance * dy, oz + distance * dz
                if glow > 0:
                    for k in range(_TONES):
                        if tones[k] > 0:
                            direct[row, column, int(material[10 + k]), GLOW] += tones[k] * glow * share
                            cover[row, column, int(material[10 + k])] += tones[k] * share
                    features[row, column, 3] += distance * share
                    features[row, column, 4] += index * share
                    continue
                mx, my, mz = _bumped(nx, ny, nz, du, dv)
                if mx * dx + my * dy + mz * dz > -0.02:
                    mx, my, mz = nx, ny, nz
                features[row, column, 0] += mx * share
                features[row, column, 1] += my * share
                features[row, column, 2] += mz * share
                features[row, column, 3] += distance * share
                features[row, column, 4] += index * share
                px, py, pz = px + 0.002 * nx, py + 0.002 * ny, pz + 0.002 * nz
                a, b = _pair(sample, 2, pixel, samples)
                from_soft = _box_light(soft, kinds, rows, fields, px, py, pz, mx, my, mz, a, b)
                a, b = _pair(sample, 3, pixel, samples)
                from_sun = _sun_light(sun, gobo, kinds, rows, fields, px, py, pz, mx, my, mz, a, b, shade)
                a, b = _pair(sample, 4, pixel, samples)
                from_accent = _box_light(accent, kinds, rows, fields, px, py, pz, mx, my, mz, a, b)
                # One bounce, toward a direction as likely as the light from it counts.
                a, b = _pair(sample, 5, pixel, samples)
                radius, angle = math.sqrt(a), 6.2831853 * b
                tx, ty, tz, bx, by, bz = _around(mx, my, mz)
                p, q, r = radius * math.cos(angle), radius * math.sin(angle), math.sqrt(1 - a)
                ex, ey, ez = p * tx + q * bx + r * mx, p * ty + q * by + r * my, p * tz + q * bz + r * mz
                hit, reach, ax, ay, az, au, av = nearest(kinds, rows, fields, px, py, pz, ex, ey, ez)
                from_dome = 0.0
                if hit < 0 or reach > 25:
                    from_dome = 0.55 + 0.45 * ey + 0.15 * ez
                else:
                    _surface(materials[owners[hit]], textures, au, av, other, scratch)
                    hx, hy, hz = (
                        px + reach * ex + 0.002 * ax,
                        py + reach * ey + 0.002 * ay,
                        pz + reach * ez + 0.002 * az,
                    )
                    a, b = _pair(sample, 6, pixel, samples)
                    light = 0.25 + 0.75 * _box_light(soft, kinds, rows, fields, hx, hy, hz, ax, ay, az, a, b)
                    light += materials[owners[hit], 9]
                    for k in range(_TONES):
                        if other[k] > 0:
                            bounce[row, column, int(materials[owners[hit], 10 + k])] += other[k] * light * share
                # What shines in a gloss: the lamps, and the pigments of what is seen in it.
                specular = material[7]
                fresnel = 0.0
                if specular > 0:
                    facing = max(0.0, -(dx * mx + dy * my + dz * mz))
                    fresnel = specular + (1 - specular) * (1 - facing) ** 5 * (1 - material[8])
                    a, b = _pair(sample, 7, pixel, samples)
                    bend = 2 * (dx * mx + dy * my + dz * mz)
                    rx, ry, rz = dx - bend * mx, dy - bend * my, dz - bend * mz
                    spread = material[8] * math.sqrt(a / max(1e-6, 1.02 - a)) * 0.6
                    tx, ty, tz, bx, by, bz = _around(rx, ry, rz)
                    p, q = spread * math.cos(6.2831853 * b), spread * math.sin(6.2831853 * b)
                    stretch = 1.0 + 4.0 * material[15]
                    rx, ry, rz = rx + p * tx + q * bx, ry + (p * ty + q * by) * stretch, rz + p * tz + q * bz
                    norm = 1.0 / math.sqrt(rx * rx + ry * ry + rz * rz)
                    rx, ry, rz = rx * norm, ry * norm, rz * norm
                    hit, reach, ax, ay, az, au, av = nearest(kinds, rows, fields, px, py, pz, rx, ry, rz)
                    metal = material[15] > 0
                    if hit < 0 or reach > 25:
                        shine = 0.35 + 0.5 * max(0.0, ry)
                        if has_sky and not metal:
                            _sky(sky, rx, abs(ry), rz, above)
                            for k in range(pigments):
                                direct[row, column, k, GLOW] += above[k] * fresnel * share
                        elif metal:
                            from_dome = _room(soft, px, py, pz, rx, ry, rz)
                        else:
                            gloss[row, column, DOME] += fresnel * shine * share
                    else:
                        _surface(materials[owners[hit]], textures, au, av, other, scratch)
                        hx, hy, hz = (
                            px + reach * rx + 0.002 * ax,
                            py + reach * ry + 0.002 * ay,
                            pz + reach * rz + 0.002 * az,
                        )
                        a, b = _pair(sample, 8, pixel, samples)
                        light = _box_light(soft, kinds, rows, fields, hx, hy, hz, ax, ay, az, a, b)
                        if metal:
                            from_dome = 0.10 + 0.5 * light + 0.4 * _room(soft, px, py, pz, rx, ry, rz)
                        for k in range(_TONES):
                            if other[k] > 0 and not metal:
                                owner = int(materials[owners[hit], 10 + k])
                                weight = other[k] * fresnel * share
                                direct[row, column, owner, SOFT] += weight * light
                                direct[row, column, owner, SUN] += weight * light
                                direct[row, column, owner, DOME] += weight * 0.5
                    if metal:
                        from_soft, from_sun, from_accent = 0.3 * from_soft, 0.3 * from_sun, 0.5 * from_accent
                    # A soft highlight of each lamp instead of finding the lamp by chance.
                    tight = 2.0 / max(0.0025, (material[8] * 0.8) ** 2)
                    for number in range(2):
                        lamp = soft if number == 0 else accent
                        lx, ly, lz = lamp[0] - px, lamp[1] - py, lamp[2] - pz
                        norm = 1.0 / math.sqrt(lx * lx + ly * ly + lz * lz)
                        hx, hy, hz = lx * norm - dx, ly * norm - dy, lz * norm - dz
                        half = math.sqrt(hx * hx + hy * hy + hz * hz)
                        peak = max(0.0, (hx * mx + hy * my + hz * mz) / half)
                        shine = fresnel * peak**tight * min(4.0, tight * 0.05)
                        lit = (from_soft if number == 0 else from_accent) > 0
                        if lit:
                            gloss[row, column, SOFT if number == 0 else ACCENT] += shine * share
                    peak_x, peak_y, peak_z = sun[0] - dx, sun[1] - dy, sun[2] - dz
                    half = math.sqrt(peak_x * peak_x + peak_y * peak_y + peak_z * peak_z)
                    peak = max(0.0, (peak_x * mx + peak_y * my + peak_z * mz) / half)
                    if from_sun > 0:
                        gloss[row, column, SUN] += fresnel * peak**tight * min(4.0, tight * 0.05) * share
                for k in range(_TONES):
                    if tones[k] > 0:
                        owner = int(material[10 + k])
                        weight = tones[k] * share
                        direct[row, column, owner, SOFT] += weight * from_soft
                        direct[row, column, owner, SUN] += weight * from_sun
                        direct[row, column, owner, DOME] += weight * from_dome
                        direct[row, column, owner, ACCENT] += weight * from_accent
                        cover[row, column, owner] += weight
    return direct, gloss, bounce, cover, features


@njit(cache=True, fastmath=True)
def _smooth(direct: Any, gloss: Any, bounce: Any, cover: Any, features: Any) -> Any:
    """Take the noise out of the light, not out of the textures: à-trous with edges at normals, depth and solids.

    Dammertz et al. 2010. The light of a pixel is the sum of its layers over the pigments; its change is shared out by cover.
    """
    height, width, pigments, _ = direct.shape
    channels = LAMPS - 1 + LAMPS + pigments
    light = np.zeros((height, width, channels), np.float32)
    for y in range(height):
        for x in range(width):
            for k in range(pigments):
                for lamp in range(LAMPS - 1):
                    light[y, x, lamp] += direct[y, x, k, lamp]
                light[y, x, LAMPS - 1 + LAMPS + k] = bounce[y, x, k]
            for lamp in range(LAMPS):
                light[y, x, LAMPS - 1 + lamp] = gloss[y, x, lamp]
    noisy = light.copy()
    for level in range(3):
        step = 1 << level
        source = light.copy()
        for y in range(height):
            for x in range(width):
                total = 0.0
                sums = np.zeros(channels)
                for j in range(-1, 2):
                    for i in range(-1, 2):
                        yy, xx = y + j * step, x + i * step
                        if yy < 0 or xx < 0 or yy >= height or xx >= width:
                            continue
                        gap = 0.0
                        for f in range(3):
                            d = features[y, x, f] - features[yy, xx, f]
                            gap += d * d * 60
                        d = (features[y, x, 3] - features[yy, xx, 3]) / (0.02 + 0.02 * features[y, x, 3])
                        gap += d * d * 0.3
                        d = features[y, x, 4] - features[yy, xx, 4]
                        gap += d * d * 40
                        # Shadows of a hard lamp keep their edge.
                        d = (source[y, x, 1] - source[yy, xx, 1]) * (1 + level)
                        gap += d * d * 8
                        d = (source[y, x, 0] - source[yy, xx, 0]) * (1 + level)
                        gap += d * d * 4
                        if gap > 8:
                            continue
                        weight = math.exp(-gap) * (2 - abs(i)) * (2 - abs(j))
                        total += weight
                        for c in range(channels):
                            sums[c] += weight * source[yy, xx, c]
                for c in range(channels):
                    light[y, x, c] = sums[c] / total
    for y in range(height):
        for x in range(width):
            for k in range(pigments):
                for lamp in range(LAMPS - 1):
                    moved = direct[y, x, k, lamp] + cover[y, x, k] * (light[y, x, lamp] - noisy[y, x, lamp])
                    direct[y, x, k, lamp] = max(0.0, moved)
                bounce[y, x, k] = light[y, x, LAMPS - 1 + LAMPS + k]
            for lamp in range(LAMPS):
                gloss[y, x, lamp] = light[y, x, LAMPS - 1 + lamp]
    return direct, gloss, bounce
