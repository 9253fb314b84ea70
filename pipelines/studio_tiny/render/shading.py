"""The shading of a point: the pigments and bumps of its surface, and the light that reaches it from each lamp."""

import math
from typing import Any

from numba import njit

from pipelines.studio_tiny.render.rays import FAR, blocked

#: How many pigments a material has at most.
TONES = 5


@njit(cache=True, fastmath=True)
def surface(material: Any, textures: Any, u: Any, v: Any, tones: Any, scratch: Any) -> Any:
    """Fill `tones` with the weights of a material's pigments at u, v; return the slopes of its bumps."""
    for k in range(TONES):
        tones[k] = 0.0
    tones[0] = 1.0
    texture = int(material[0])
    if texture < 0:
        return 0.0, 0.0
    cos, sin = material[4], material[5]
    a = (cos * u - sin * v) * material[1] + material[2]
    b = (sin * u + cos * v) * material[1] + material[3]
    lookup(textures[texture], a, b, scratch)
    left = 1.0
    for k in range(1, TONES):
        tones[k] = scratch[k - 1]
        left -= scratch[k - 1]
    tones[0] = max(0.0, left)
    # Beyond an edge the texture is mirrored, and so are its slopes.
    du = scratch[4] * (1.0 if a >= 0 else -1.0)
    dv = scratch[5] * (1.0 if b >= 0 else -1.0)
    if int(abs(a)) % 2 == 1:
        du = -du
    if int(abs(b)) % 2 == 1:
        dv = -dv
    return (cos * du + sin * dv) * material[6], (-sin * du + cos * dv) * material[6]


@njit(cache=True, fastmath=True)
def bumped(nx: Any, ny: Any, nz: Any, du: Any, dv: Any) -> Any:
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
def box_light(
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
def sun_light(
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
        # The gobo stands at some distance toward the sun, so the width of the sun's disc blurs it.
        gap = lamp[12] - (px * lamp[0] + py * lamp[1] + pz * lamp[2])
        qx, qy, qz = px + gap * lx, py + gap * ly, pz + gap * lz
        across = (qx * ux + qy * uy + qz * uz - lamp[14]) / lamp[13]
        along = (qx * vx + qy * vy + qz * vz - lamp[15]) / lamp[13]
        if abs(across) >= 1 or abs(along) >= 1:
            light *= lamp[16]
        else:
            lookup(gobo, (across + 1) / 2, (1 - along) / 2, shade)
            light *= shade[0]
    if light <= 0.0 or blocked(kinds, rows, fields, px, py, pz, lx, ly, lz, FAR):
        return 0.0
    return light * facing


@njit(cache=True, fastmath=True)
def room_seen(lamp: Any, px: Any, py: Any, pz: Any, dx: Any, dy: Any, dz: Any) -> Any:
    """Return the light of the room that a metal mirrors from a direction: dark walls, a pale ceiling, a wide soft box."""
    lx, ly, lz = lamp[0] - px, lamp[1] - py, lamp[2] - pz
    norm = 1.0 / math.sqrt(lx * lx + ly * ly + lz * lz)
    toward = max(0.0, (lx * dx + ly * dy + lz * dz) * norm)
    return 0.12 + 0.45 * max(0.0, dy) + 3.0 * toward**14 + 0.5 * (1.0 if dx * lx < -0.3 * norm else 0.0)


@njit(cache=True, fastmath=True)
def sky_at(sky: Any, dx: Any, dy: Any, dz: Any, out: Any) -> None:
    """Fill `out` with the sky's pigments in a direction. The picture is 100° by 50° ahead, and mirrored beyond."""
    across = math.atan2(dx, -dz) / 1.745 + 0.5
    up = math.asin(min(1.0, max(-1.0, dy))) / 0.8727
    lookup(sky, across, 1 - min(0.999, max(0.001, up)), out)


@njit(cache=True, fastmath=True)
def lookup(picture: Any, u: Any, v: Any, out: Any) -> None:
    """Fill `out` with a picture (side, side, channels) at u, v: interpolated, and mirrored beyond its edges."""
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
