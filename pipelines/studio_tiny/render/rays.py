"""The points at which a ray meets the solids of a set.

Unless it says otherwise, every function returns (distance, normal x, y, z, texture u, v); the distance of a miss is FAR.
"""

import math
from typing import Any

from numba import njit

from pipelines.studio_tiny.render.geometry import ARCH, BOX, CYLINDER, DISC, OPENING, RECT, SPHERE, SWEEP

FAR = 1e9
_NEAR = 1e-4


@njit(cache=True, fastmath=True)
def nearest(kinds: Any, rows: Any, fields: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any) -> Any:
    """Return the index of the first solid on the ray (-1 if there is none), and then what `meet` returns for it."""
    best, found = FAR, -1
    nx = ny = nz = u = v = 0.0
    for index in range(len(kinds)):
        hit = meet(kinds[index], rows[index], fields, ox, oy, oz, dx, dy, dz, best)
        if hit[0] < best:
            best, nx, ny, nz, u, v = hit
            found = index
    return found, best, nx, ny, nz, u, v


@njit(cache=True, fastmath=True)
def blocked(
    kinds: Any, rows: Any, fields: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any, reach: Any
) -> Any:
    """Return whether the ray meets a solid nearer than `reach`."""
    for index in range(len(kinds)):
        if meet(kinds[index], rows[index], fields, ox, oy, oz, dx, dy, dz, reach)[0] < reach:
            return True
    return False


@njit(cache=True, fastmath=True)
def meet(kind: Any, row: Any, fields: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any, reach: Any) -> Any:
    if kind == RECT:
        return _rect(row, ox, oy, oz, dx, dy, dz)
    if kind == BOX:
        return _box(row, ox, oy, oz, dx, dy, dz)
    if kind == CYLINDER:
        return _cylinder(row, ox, oy, oz, dx, dy, dz)
    if kind == SPHERE:
        return _sphere(row, ox, oy, oz, dx, dy, dz)
    if kind == SWEEP:
        return _sweep(row, ox, oy, oz, dx, dy, dz)
    if kind == OPENING:
        return _opening(row, ox, oy, oz, dx, dy, dz)
    if kind == ARCH:
        return _arch(row, ox, oy, oz, dx, dy, dz)
    if kind == DISC:
        return _disc(row, ox, oy, oz, dx, dy, dz)
    return _relief(row, fields, ox, oy, oz, dx, dy, dz, reach)


@njit(cache=True, fastmath=True)
def _flat(nx: Any, ny: Any, nz: Any, px: Any, py: Any, pz: Any) -> Any:
    """Return the texture coordinates of a point on a flat face: the floor's, or a wall's."""
    if abs(ny) > 0.7:
        return px, -pz
    norm = 1.0 / max(1e-9, math.sqrt(nx * nx + nz * nz))
    return (px * nz - pz * nx) * norm, py


@njit(cache=True, fastmath=True)
def _rect(row: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any) -> Any:
    nx = row[4] * row[8] - row[5] * row[7]
    ny = row[5] * row[6] - row[3] * row[8]
    nz = row[3] * row[7] - row[4] * row[6]
    slope = dx * nx + dy * ny + dz * nz
    if abs(slope) < 1e-9:
        return FAR, 0.0, 0.0, 0.0, 0.0, 0.0
    t = ((row[0] - ox) * nx + (row[1] - oy) * ny + (row[2] - oz) * nz) / slope
    if t < _NEAR:
        return FAR, 0.0, 0.0, 0.0, 0.0, 0.0
    px, py, pz = ox + t * dx - row[0], oy + t * dy - row[1], oz + t * dz - row[2]
    u = px * row[3] + py * row[4] + pz * row[5]
    v = px * row[6] + py * row[7] + pz * row[8]
    if abs(u) > row[9] or abs(v) > row[10]:
        return FAR, 0.0, 0.0, 0.0, 0.0, 0.0
    if slope > 0:
        nx, ny, nz = -nx, -ny, -nz
    return t, nx, ny, nz, u, v


@njit(cache=True, fastmath=True)
def _box(row: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any) -> Any:
    cos, sin = row[6], row[7]
    qx, qy, qz = ox - row[0], oy - row[1], oz - row[2]
    lx, ly, lz = cos * qx - sin * qz, qy, sin * qx + cos * qz
    ex, ey, ez = cos * dx - sin * dz, dy, sin * dx + cos * dz
    enter, leave, axis = -FAR, FAR, 0
    for a in range(3):
        start = lx if a == 0 else (ly if a == 1 else lz)
        slope = ex if a == 0 else (ey if a == 1 else ez)
        half = row[3 + a]
        if abs(slope) < 1e-12:
            if abs(start) > half:
                return FAR, 0.0, 0.0, 0.0, 0.0, 0.0
            continue
        near, far = (-half - start) / slope, (half - start) / slope
        if near > far:
            near, far = far, near
        if near > enter:
            enter, axis = near, a
        leave = min(leave, far)
    if enter > leave or enter < _NEAR:
        return FAR, 0.0, 0.0, 0.0, 0.0, 0.0
    hx, hy, hz = lx + enter * ex, ly + enter * ey, lz + enter * ez
    mx = my = mz = 0.0
    if axis == 0:
        mx = 1.0 if hx > 0 else -1.0
    elif axis == 1:
        my = 1.0 if hy > 0 else -1.0
    else:
        mz = 1.0 if hz > 0 else -1.0
    u, v = _flat(mx, my, mz, hx, hy, hz)
    bevel = row[8]
    # Near an edge the normal leans over it, as on a rounded edge.
    kx = max(0.0, (abs(hx) - row[3] + bevel) / bevel) if axis != 0 else 0.0
    ky = max(0.0, (abs(hy) - row[4] + bevel) / bevel) if axis != 1 else 0.0
    kz = max(0.0, (abs(hz) - row[5] + bevel) / bevel) if axis != 2 else 0.0
    mx += 0.4 * kx * (1.0 if hx > 0 else -1.0)
    my += 0.4 * ky * (1.0 if hy > 0 else -1.0)
    mz += 0.4 * kz * (1.0 if hz > 0 else -1.0)
    norm = 1.0 / math.sqrt(mx * mx + my * my + mz * mz)
    mx, my, mz = mx * norm, my * norm, mz * norm
    return enter, cos * mx + sin * mz, my, -sin * mx + cos * mz, u, v


@njit(cache=True, fastmath=True)
def _cylinder(row: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any) -> Any:
    radius, height, bevel = row[3], row[4], row[5]
    qx, qy, qz = ox - row[0], oy - row[1], oz - row[2]
    best = FAR
    nx = ny = nz = u = v = 0.0
    a = dx * dx + dz * dz
    if a > 1e-12:
        b = qx * dx + qz * dz
        root = b * b - a * (qx * qx + qz * qz - radius * radius)
        if root < 0:
            return FAR, 0.0, 0.0, 0.0, 0.0, 0.0
        t = (-b - math.sqrt(root)) / a
        y = qy + t * dy
        if t > _NEAR and 0 <= y <= height:
            best = t
            nx, nz = (qx + t * dx) / radius, (qz + t * dz) / radius
            u, v = math.atan2(nx, nz) * radius, y
            lean = 0.4 * max(0.0, (y - height + bevel) / bevel)
            ny = lean
            norm = 1.0 / math.sqrt(1.0 + lean * lean)
            nx, ny, nz = nx * norm, ny * norm, nz * norm
    for side in range(2):
        if abs(dy) < 1e-12:
            break
        t = (height * side - qy) / dy
        if t < _NEAR or t > best:
            continue
        x, z = qx + t * dx, qz + t * dz
        distance = math.sqrt(x * x + z * z)
        if distance > radius:
            continue
        best = t
        lean = 0.4 * max(0.0, (distance - radius + bevel) / bevel)
        nx, ny, nz = lean * x / max(distance, 1e-6), 2.0 * side - 1.0, lean * z / max(distance, 1e-6)
        norm = 1.0 / math.sqrt(nx * nx + 1.0 + nz * nz)
        nx, ny, nz = nx * norm, ny * norm, nz * norm
        u, v = x, -z
    return best, nx, ny, nz, u, v


@njit(cache=True, fastmath=True)
def _sphere(row: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any) -> Any:
    qx, qy, qz = ox - row[0], oy - row[1], oz - row[2]
    b = qx * dx + qy * dy + qz * dz
    root = b * b - (qx * qx + qy * qy + qz * qz - row[3] * row[3])
    if root < 0:
        return FAR, 0.0, 0.0, 0.0, 0.0, 0.0
    t = -b - math.sqrt(root)
    if t < _NEAR:
        return FAR, 0.0, 0.0, 0.0, 0.0, 0.0
    nx, ny, nz = (qx + t * dx) / row[3], (qy + t * dy) / row[3], (qz + t * dz) / row[3]
    return t, nx, ny, nz, math.atan2(nx, nz) * row[3], math.asin(min(1.0, max(-1.0, ny))) * row[3]


@njit(cache=True, fastmath=True)
def _sweep(row: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any) -> Any:
    depth, radius = row[0], row[1]
    best = FAR
    ny = nz = v = 0.0
    if abs(dy) > 1e-12:
        t = -oy / dy
        if _NEAR < t < best and oz + t * dz > radius - depth:
            best, ny, nz, v = t, 1.0, 0.0, -(oz + t * dz)
    if abs(dz) > 1e-12:
        t = (-depth - oz) / dz
        if _NEAR < t < best and oy + t * dy > radius:
            best, ny, nz = t, 0.0, 1.0
            v = depth - radius + 1.5708 * radius + oy + t * dy - radius
    a = dy * dy + dz * dz
    qy, qz = oy - radius, oz + depth - radius
    b = qy * dy + qz * dz
    root = b * b - a * (qy * qy + qz * qz - radius * radius)
    if root > 0 and a > 1e-12:
        t = (-b + math.sqrt(root)) / a
        y, z = qy + t * dy, qz + t * dz
        if _NEAR < t < best and y <= 0 and z <= 0:
            best, ny, nz = t, -y / radius, -z / radius
            v = depth - radius + radius * math.atan2(-z, -y)
    return best, 0.0, ny, nz, ox + best * dx, v


@njit(cache=True, fastmath=True)
def _opening(row: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any) -> Any:
    z0, thick, cx, half, sill, spring, is_round = row[0], row[1], row[2], row[3], row[4], row[5], row[6]
    best = FAR
    nx = ny = nz = u = v = 0.0
    if abs(dz) > 1e-12:
        t = (z0 - oz) / dz
        x, y = ox + t * dx - cx, oy + t * dy
        inside = _within(x, y, half, sill, spring, is_round)
        if t > _NEAR and not inside:
            best, nz = t, (1.0 if dz < 0 else -1.0)
            u, v = x, y
    qx, qy = ox - cx, oy - spring
    a = dx * dx + dy * dy
    b = qx * dx + qy * dy
    root = b * b - a * (qx * qx + qy * qy - half * half)
    if root > 0 and a > 1e-12:
        t = (-b + math.sqrt(root)) / a
        x, y, z = qx + t * dx, qy + t * dy, oz + t * dz
        if _NEAR < t < best and (y >= 0 or is_round > 0.5) and z0 - thick <= z <= z0:
            best, nx, ny, nz = t, -x / half, -y / half, 0.0
            u, v = z, math.atan2(x, y) * half
    if is_round < 0.5:
        for side in range(2):
            face = (2.0 * side - 1.0) * half
            if abs(dx) < 1e-12:
                continue
            t = (cx + face - ox) / dx
            y, z = oy + t * dy, oz + t * dz
            if _NEAR < t < best and sill <= y <= spring and z0 - thick <= z <= z0:
                best, nx, ny, nz = t, (-1.0 if side == 1 else 1.0), 0.0, 0.0
                u, v = z, y
        if abs(dy) > 1e-12:
            t = (sill - oy) / dy
            x, z = ox + t * dx - cx, oz + t * dz
            if _NEAR < t < best and abs(x) <= half and z0 - thick <= z <= z0:
                best, nx, ny, nz = t, 0.0, 1.0, 0.0
                u, v = x, -z
    return best, nx, ny, nz, u, v


@njit(cache=True, fastmath=True)
def _within(x: Any, y: Any, half: Any, sill: Any, spring: Any, is_round: Any) -> Any:
    """Return whether a point of a wall is in its opening, which is an arch or round."""
    if y > spring or is_round > 0.5:
        return x * x + (y - spring) * (y - spring) < half * half
    return abs(x) < half and y > sill


@njit(cache=True, fastmath=True)
def _arch(row: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any) -> Any:
    cx, z0, thick, outer, outer_h, inner, inner_h = row[0], row[1], row[2], row[3], row[4], row[5], row[6]
    best = FAR
    nx = ny = nz = u = v = 0.0
    for side in range(2):
        if abs(dz) < 1e-12:
            continue
        t = (z0 - thick * side - oz) / dz
        x, y = ox + t * dx - cx, oy + t * dy
        solid = y >= 0 and _within(x, y, outer, -1.0, outer_h, 0.0)
        if solid and inner > 0:
            solid = not _within(x, y, inner, -1.0, inner_h, 0.0)
        if _NEAR < t < best and solid:
            best, nx, ny, nz = t, 0.0, 0.0, (1.0 if side == 0 else -1.0)
            u, v = x, y
    for ring in range(2):
        half = outer if ring == 0 else inner
        spring = outer_h if ring == 0 else inner_h
        out = 1.0 if ring == 0 else -1.0
        if half <= 0:
            continue
        qx, qy = ox - cx, oy - spring
        a = dx * dx + dy * dy
        b = qx * dx + qy * dy
        root = b * b - a * (qx * qx + qy * qy - half * half)
        if root > 0 and a > 1e-12:
            t = (-b - out * math.sqrt(root)) / a
            x, y, z = qx + t * dx, qy + t * dy, oz + t * dz
            if _NEAR < t < best and y >= 0 and z0 - thick <= z <= z0:
                best, nx, ny, nz = t, out * x / half, out * y / half, 0.0
                u, v = z, math.atan2(x, y) * half
        if abs(dx) > 1e-12:
            for side in range(2):
                face = (2.0 * side - 1.0) * half
                t = (cx + face - ox) / dx
                y, z = oy + t * dy, oz + t * dz
                if _NEAR < t < best and 0 <= y <= spring and z0 - thick <= z <= z0:
                    best, nx, ny, nz = t, out * (2.0 * side - 1.0), 0.0, 0.0
                    u, v = z, y
    return best, nx, ny, nz, u, v


@njit(cache=True, fastmath=True)
def _disc(row: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any) -> Any:
    radius, thick = row[4], row[3]
    best = FAR
    nx = ny = nz = u = v = 0.0
    qx, qy = ox - row[0], oy - row[1]
    for side in range(2):
        if abs(dz) < 1e-12:
            continue
        t = (row[2] - thick * side - oz) / dz
        x, y = qx + t * dx, qy + t * dy
        if _NEAR < t < best and x * x + y * y <= radius * radius:
            best, nx, ny, nz = t, 0.0, 0.0, (1.0 if side == 0 else -1.0)
            u, v = x, y
    a = dx * dx + dy * dy
    b = qx * dx + qy * dy
    root = b * b - a * (qx * qx + qy * qy - radius * radius)
    if root > 0 and a > 1e-12:
        t = (-b - math.sqrt(root)) / a
        z = oz + t * dz
        if _NEAR < t < best and row[2] - thick <= z <= row[2]:
            best, nx, ny, nz = t, (qx + t * dx) / radius, (qy + t * dy) / radius, 0.0
            u, v = z, math.atan2(nx, ny) * radius
    return best, nx, ny, nz, u, v


@njit(cache=True, fastmath=True)
def _height(field: Any, u: Any, v: Any) -> Any:
    """Return the height of a field at u, v (0–1), interpolated between its samples."""
    side = field.shape[0] - 1
    x, y = min(max(u, 0.0), 0.99999) * side, min(max(v, 0.0), 0.99999) * side
    i, j = int(x), int(y)
    fx, fy = x - i, y - j
    low = field[j, i] * (1 - fx) + field[j, i + 1] * fx
    high = field[j + 1, i] * (1 - fx) + field[j + 1, i + 1] * fx
    return low * (1 - fy) + high * fy


@njit(cache=True, fastmath=True)
def _relief(row: Any, fields: Any, ox: Any, oy: Any, oz: Any, dx: Any, dy: Any, dz: Any, reach: Any) -> Any:
    ux, uy, uz, vx, vy, vz = row[3], row[4], row[5], row[6], row[7], row[8]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    qx, qy, qz = ox - row[0], oy - row[1], oz - row[2]
    field = fields[int(row[12])]
    height = row[11]
    wide, deep = 2 * row[9], 2 * row[10]
    a, da = (qx * ux + qy * uy + qz * uz) / wide + 0.5, (dx * ux + dy * uy + dz * uz) / wide
    b, db = (qx * vx + qy * vy + qz * vz) / deep + 0.5, (dx * vx + dy * vy + dz * vz) / deep
    c, dc = (qx * nx + qy * ny + qz * nz) / height, (dx * nx + dy * ny + dz * nz) / height
    start, end = 2 * _NEAR, reach
    for axis in range(3):
        origin = a if axis == 0 else (b if axis == 1 else c)
        slope = da if axis == 0 else (db if axis == 1 else dc)
        low, high = (0.0, 1.0) if axis < 2 else (-0.001, 1.001)
        if abs(slope) < 1e-12:
            if origin < low or origin > high:
                return FAR, 0.0, 0.0, 0.0, 0.0, 0.0
            continue
        near, far = (low - origin) / slope, (high - origin) / slope
        if near > far:
            near, far = far, near
        start, end = max(start, near), min(end, far)
    if start >= end:
        return FAR, 0.0, 0.0, 0.0, 0.0, 0.0
    span = (abs(da) + abs(db)) * (end - start) * (field.shape[0] - 1)
    steps = min(160, max(6, int(span / 1.5)))
    step = (end - start) / steps
    for index in range(1, steps + 1):
        t = start + index * step
        above = c + t * dc - _height(field, a + t * da, b + t * db)
        if above < 0:
            low, high = t - step, t
            for _ in range(5):
                middle = (low + high) / 2
                if c + middle * dc - _height(field, a + middle * da, b + middle * db) < 0:
                    high = middle
                else:
                    low = middle
            t = (low + high) / 2
            u, v = a + t * da, b + t * db
            gap = 1.0 / (field.shape[0] - 1)
            su = (_height(field, u + gap, v) - _height(field, u - gap, v)) * height / (2 * gap * wide)
            sv = (_height(field, u, v + gap) - _height(field, u, v - gap)) * height / (2 * gap * deep)
            mx, my, mz = nx - su * ux - sv * vx, ny - su * uy - sv * vy, nz - su * uz - sv * vz
            norm = 1.0 / math.sqrt(mx * mx + my * my + mz * mz)
            return t, mx * norm, my * norm, mz * norm, (u - 0.5) * wide, (v - 0.5) * deep
    return FAR, 0.0, 0.0, 0.0, 0.0, 0.0
