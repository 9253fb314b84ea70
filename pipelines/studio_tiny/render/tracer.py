"""Trace a set into layers of light: what each pigment would send to the camera under each lamp, were it white.

Light is linear, so a picture is a sum over pigments and lamps of (albedo × lamp colour × layer), and colours and lamps can
be chosen after the tracing. Lamps: a soft box, a sun or spot that may shine through a gobo, the dome of the room, an accent
from the side, and what glows by itself. Light that bounces once keeps the pigment it comes from.
"""

import math
from typing import Any

import numpy as np
from numba import njit, prange

from pipelines.studio_tiny.render.denoise import without_noise
from pipelines.studio_tiny.render.geometry import nearest
from pipelines.studio_tiny.render.layers import ACCENT, DOME, GLOW, LAMPS, SOFT, SUN, Layers
from pipelines.studio_tiny.render.sampling import around, pair, scramble
from pipelines.studio_tiny.render.sets import Set
from pipelines.studio_tiny.render.shading import TONES, box_light, bumped, room_seen, sky_at, sun_light, surface


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
    direct, gloss, bounce = without_noise(direct, gloss, bounce, cover, features)
    if built.leaves is not None:
        _hide(built.leaves, direct, gloss, bounce, cover)
    return Layers(
        direct=direct, gloss=gloss, bounce=bounce, cover=cover, depth=features[..., 3], gobo=built.gobo is not None
    )


def _hide(leaves: Any, direct: Any, gloss: Any, bounce: Any, cover: Any) -> None:
    """Put leaves that are far out of focus before everything; the last pigment is theirs."""
    left = 1 - leaves
    direct *= left[..., None, None]
    for layer in (gloss, bounce, cover):
        np.multiply(layer, left[..., None], out=layer)
    cover[..., -1] += leaves
    direct[..., -1, :] += leaves[..., None] * np.array([0.5, 0.4, 0.7, 0.3, 0.0], np.float32)


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
        tones = np.zeros(TONES)
        other = np.zeros(TONES)
        scratch = np.zeros(8)
        shade = np.zeros(1)
        above = np.zeros(max(1, sky.shape[2]))
        for column in range(width):
            pixel = scramble((row * width + column + seed * 7919) & 0xFFFFFFFF)
            for sample in range(samples):
                # The eye ray, from a point of the lens through the point in focus.
                jx, jy = pair(sample, 0, pixel, samples)
                sx = (2 * (column + jx) / width - 1) * camera[12]
                sy = (1 - 2 * (row + jy) / height) * camera[13]
                dx = camera[9] + sx * camera[3] + sy * camera[6]
                dy = camera[10] + sx * camera[4] + sy * camera[7]
                dz = camera[11] + sx * camera[5] + sy * camera[8]
                ox, oy, oz = camera[0], camera[1], camera[2]
                if camera[14] > 0:
                    a, b = pair(sample, 1, pixel, samples)
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
                        sky_at(sky, dx, dy, dz, above)
                        for k in range(pigments):
                            direct[row, column, k, GLOW] += above[k] * share
                            cover[row, column, k] += above[k] * share
                    continue
                material = materials[owners[index]]
                du, dv = surface(material, textures, u, v, tones, scratch)
                glow = material[9]
                px, py, pz = ox + distance * dx, oy + distance * dy, oz + distance * dz
                if glow > 0:
                    for k in range(TONES):
                        if tones[k] > 0:
                            direct[row, column, int(material[10 + k]), GLOW] += tones[k] * glow * share
                            cover[row, column, int(material[10 + k])] += tones[k] * share
                    features[row, column, 3] += distance * share
                    features[row, column, 4] += index * share
                    continue
                # Far away the bumps are finer than a pixel and even out.
                fade = 1.0 / (1.0 + (distance / 9.0) ** 2)
                mx, my, mz = bumped(nx, ny, nz, du * fade, dv * fade)
                if mx * dx + my * dy + mz * dz > -0.02:
                    mx, my, mz = nx, ny, nz
                features[row, column, 0] += mx * share
                features[row, column, 1] += my * share
                features[row, column, 2] += mz * share
                features[row, column, 3] += distance * share
                features[row, column, 4] += index * share
                px, py, pz = px + 0.002 * nx, py + 0.002 * ny, pz + 0.002 * nz
                a, b = pair(sample, 2, pixel, samples)
                from_soft = box_light(soft, kinds, rows, fields, px, py, pz, mx, my, mz, a, b)
                a, b = pair(sample, 3, pixel, samples)
                from_sun = sun_light(sun, gobo, kinds, rows, fields, px, py, pz, mx, my, mz, a, b, shade)
                a, b = pair(sample, 4, pixel, samples)
                from_accent = box_light(accent, kinds, rows, fields, px, py, pz, mx, my, mz, a, b)
                # One bounce, toward a direction as likely as the light from it counts.
                a, b = pair(sample, 5, pixel, samples)
                radius, angle = math.sqrt(a), 6.2831853 * b
                tx, ty, tz, bx, by, bz = around(mx, my, mz)
                p, q, r = radius * math.cos(angle), radius * math.sin(angle), math.sqrt(1 - a)
                ex, ey, ez = p * tx + q * bx + r * mx, p * ty + q * by + r * my, p * tz + q * bz + r * mz
                hit, reach, ax, ay, az, au, av = nearest(kinds, rows, fields, px, py, pz, ex, ey, ez)
                from_dome = 0.0
                if hit < 0 or reach > 25:
                    from_dome = 0.55 + 0.45 * ey + 0.15 * ez
                else:
                    surface(materials[owners[hit]], textures, au, av, other, scratch)
                    hx, hy, hz = (
                        px + reach * ex + 0.002 * ax,
                        py + reach * ey + 0.002 * ay,
                        pz + reach * ez + 0.002 * az,
                    )
                    a, b = pair(sample, 6, pixel, samples)
                    light = 0.25 + 0.75 * box_light(soft, kinds, rows, fields, hx, hy, hz, ax, ay, az, a, b)
                    light += materials[owners[hit], 9]
                    for k in range(TONES):
                        if other[k] > 0:
                            bounce[row, column, int(materials[owners[hit], 10 + k])] += other[k] * light * share
                # What shines in a gloss: the lamps, and the pigments of what is seen in it.
                specular = material[7]
                fresnel = 0.0
                if specular > 0:
                    facing = max(0.0, -(dx * mx + dy * my + dz * mz))
                    fresnel = specular + (1 - specular) * (1 - facing) ** 5 * (1 - material[8])
                    a, b = pair(sample, 7, pixel, samples)
                    bend = 2 * (dx * mx + dy * my + dz * mz)
                    rx, ry, rz = dx - bend * mx, dy - bend * my, dz - bend * mz
                    spread = material[8] * math.sqrt(a / max(1e-6, 1.02 - a)) * 0.6
                    tx, ty, tz, bx, by, bz = around(rx, ry, rz)
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
                            sky_at(sky, rx, abs(ry), rz, above)
                            for k in range(pigments):
                                direct[row, column, k, GLOW] += above[k] * fresnel * share
                        elif metal:
                            from_dome = room_seen(soft, px, py, pz, rx, ry, rz)
                        else:
                            gloss[row, column, DOME] += fresnel * shine * share
                    else:
                        surface(materials[owners[hit]], textures, au, av, other, scratch)
                        hx, hy, hz = (
                            px + reach * rx + 0.002 * ax,
                            py + reach * ry + 0.002 * ay,
                            pz + reach * rz + 0.002 * az,
                        )
                        a, b = pair(sample, 8, pixel, samples)
                        light = box_light(soft, kinds, rows, fields, hx, hy, hz, ax, ay, az, a, b)
                        if metal:
                            from_dome = 0.10 + 0.5 * light + 0.4 * room_seen(soft, px, py, pz, rx, ry, rz)
                        for k in range(TONES):
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
                for k in range(TONES):
                    if tones[k] > 0:
                        owner = int(material[10 + k])
                        weight = tones[k] * share
                        direct[row, column, owner, SOFT] += weight * from_soft
                        direct[row, column, owner, SUN] += weight * from_sun
                        direct[row, column, owner, DOME] += weight * from_dome
                        direct[row, column, owner, ACCENT] += weight * from_accent
                        cover[row, column, owner] += weight
    return direct, gloss, bounce, cover, features
