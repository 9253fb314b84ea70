"""Textures: the places of a material's pigments, and the slopes of its surface.

A texture is (SIDE, SIDE, 6): the weights of pigments 1–4 of its material (pigment 0 has the rest), then the slopes of its
bumps across and along; 1 is about the steepest. Places are 0–1 on both axes. The numbers in docstrings below are those of
pigments.
"""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from pipelines.studio_tiny.render.noise import SIDE, Field, cells, fractal, grid, smooth, step

Rng = np.random.Generator


def _texture(height: Field | None, *weights: Field) -> Field:
    texture = np.zeros((SIDE, SIDE, 6), np.float32)
    for index, weight in enumerate(weights):
        texture[..., index] = weight
    total = texture[..., :4].sum(axis=2, keepdims=True)
    texture[..., :4] /= np.maximum(total, 1)
    if height is not None:
        down, across = np.gradient(height.astype(np.float32))
        steep = float(np.percentile(np.hypot(across, down), 99.5)) or 1.0
        texture[..., 4] = (across / steep).clip(-1.5, 1.5)
        # Rows run down, but the second axis of a surface runs up.
        texture[..., 5] = (down / steep).clip(-1.5, 1.5)
    return texture


def marble(rng: Rng) -> Field:
    """Return the texture of marble: mist (1), bold branching veins (2), hair veins (3)."""
    x, y = grid()
    angle = rng.uniform(0, math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    warp = fractal(rng, 2, octaves=6, gain=0.55)
    swirl = fractal(rng, 1.5, octaves=5, gain=0.5)
    strength = step(fractal(rng, 2, octaves=3), -0.9, 1.0)
    bold = np.zeros_like(x)
    for count, width in ((rng.uniform(1.2, 2.6), 0.035), (rng.uniform(2.5, 4.5), 0.016)):
        place = along * count + 0.30 * warp + 0.22 * swirl + rng.random()
        gap = np.abs(place % 1 - 0.5) / (0.4 + 1.2 * strength)
        bold = np.maximum(bold, np.exp(-gap / width) * (0.35 + 0.65 * strength))
        bold = np.maximum(bold, 0.30 * np.exp(-gap / (7 * width)) * strength)
    fine = np.zeros_like(x)
    for cells_across in (3.0, 5.0, 9.0):
        ridge = np.abs(fractal(rng, cells_across, octaves=5, gain=0.55) + 0.3 * warp)
        mask = step(smooth(rng, 3), 0.0, 1.2)
        fine = np.maximum(fine, np.exp(-ridge / 0.035) * mask)
    mist = 0.38 * step(fractal(rng, 2.2, octaves=5, gain=0.6) + 0.5 * warp, 0.0, 2.0)
    bold = bold.clip(0, 1)
    return _texture(None, mist * (1 - bold), bold * 0.95, fine * 0.7 * (1 - bold))


def wood(rng: Rng, boards: int, colors: int) -> Field:
    """Return the texture of boards along the first axis: grain (1), gaps (2), boards of up to two more paints (3, 4)."""
    x, y = grid()
    place = y * boards + rng.random()
    board = np.floor(place).astype(int)
    inside = place - board
    count = int(board.max()) + 1
    shift = rng.uniform(0, 50, count)[board].astype(np.float32)
    # Long grain shows the rings of a trunk that is cut along them. The cut wanders, and rings bend around knots.
    bend = smooth(rng, 2.5, boards * 1.0) * 0.35 + smooth(rng, 6, boards * 2.0) * 0.10
    centre = rng.uniform(-0.3, 1.3, count)[board].astype(np.float32)
    rings = np.abs(inside - centre + 0.25 * bend)
    for _ in range(int(rng.integers(0, boards + 1))):
        kx, ky = rng.random(), rng.random()
        near = np.exp(-(((x - kx) / 0.05) ** 2 + ((y - ky) * boards / 0.35) ** 2))
        rings = rings + near * 0.25
    lines = rings * rng.uniform(9, 16) + 0.3 * bend + shift
    saw = lines % 1
    ring = step(saw, 0.1, 0.95) * (1 - step(saw, 0.95, 1.0))
    fibre = smooth(rng, 10, 260) * 0.5 + smooth(rng, 22, 420) * 0.5
    pores = step(smooth(rng, 26, 380), 1.1, 1.9)
    tone = rng.uniform(0, 0.4, count)[board].astype(np.float32)
    grain = (0.10 + 0.45 * ring + 0.13 * fibre + 0.4 * pores + tone * 0.5 + 0.06 * bend).clip(0, 0.9)
    # The ends of boards are offset from board to board.
    joint = (x + rng.random(count)[board]) % 1
    edge = np.minimum(
        np.minimum(inside, 1 - inside) / boards, np.minimum(joint, 1 - joint) if rng.random() < 0.5 else 1.0
    )
    gap = 1 - step(edge, 0.0012, 0.0035)
    height = step(edge, 0.0, 0.006) + 0.05 * (ring + 0.5 * fibre)
    paint = rng.permutation(np.arange(count) % max(1, colors))[board]
    weights = [grain * (1 - gap), gap]
    for number in (1, 2):
        painted = (paint == number) * (1 - gap) * (1 - 0.45 * grain)
        weights.append(painted)
        weights[0] = weights[0] * (1 - 0.55 * (paint == number))
    return _texture(height, *weights)


def end_grain(rng: Rng, colors: int) -> Field:
    """Return the texture of blocks of end grain: rings (1), gaps (2), blocks of a second and third colour (3, 4)."""
    x, y = grid()
    count = int(rng.integers(4, 7))
    gx, gy = np.floor(x * count).astype(int), np.floor(y * count).astype(int)
    block = gy * count + gx
    px, py = x * count - gx, y * count - gy
    cx = rng.uniform(-0.8, 1.8, count * count)[block]
    cy = rng.uniform(-0.8, 1.8, count * count)[block]
    distance = np.hypot(px - cx, py - cy) + 0.03 * smooth(rng, 4 * count) + 0.012 * smooth(rng, 12 * count)
    saw = (distance * rng.uniform(9, 14, count * count)[block]) % 1
    ring = step(saw, 0.15, 0.9) * (1 - step(saw, 0.9, 1.0))
    rays = step(smooth(rng, 240), 1.2, 2.2)
    grain = (0.08 + 0.5 * ring + 0.25 * rays + rng.uniform(0, 0.35, count * count)[block]).clip(0, 0.9)
    edge = np.minimum(np.minimum(px, 1 - px), np.minimum(py, 1 - py)) / count
    gap = 1 - step(edge, 0.001, 0.003)
    paint = rng.permutation(np.arange(count * count) % max(1, colors))[block]
    weights = [grain * (1 - gap), gap]
    weights += [(paint == number) * (1 - gap) * (1 - 0.5 * grain) for number in (1, 2)]
    return _texture(step(edge, 0, 0.005), *weights)


def terrazzo(rng: Rng, colors: int, coarse: float) -> Field:
    """Return the texture of chips of up to four pigments in a ground; `coarse` is the largest one's part of the side."""
    texture = np.zeros((SIDE, SIDE, 4), np.float32)
    for size, chance in ((coarse, 0.62), (coarse * 0.45, 0.45), (coarse * 0.2, 0.35)):
        count = int(1.0 / (size * size))
        points = rng.random((count, 2))
        owner, first, second = cells(points)
        gap = (second - first) / size + 0.06 * smooth(rng, 4 / size)
        shrink = rng.uniform(0.10, 0.45, count)[owner]
        kept = (rng.random(count) < chance)[owner]
        chip = step(gap - shrink, 0.0, 0.05) * kept
        kind = rng.integers(0, colors, count)[owner]
        texture *= (1 - chip)[..., None]
        for number in range(colors):
            texture[..., number] += chip * (kind == number)
    return _texture(None, *(texture[..., number] for number in range(4)))


def concrete(rng: Rng, panels: bool) -> Field:
    """Return the texture of cast concrete: clouds (1), pores (2), and with `panels` also joints of formwork and holes (2)."""
    x, y = grid()
    mottle = fractal(rng, 2.5, octaves=7, gain=0.62)
    pours = smooth(rng, 1.5, 7) * 0.4
    clouds = (0.34 * step(mottle + pours, -1.2, 2.0) + 0.10 * smooth(rng, 160)).clip(0, 1)
    pores = step(smooth(rng, 190) + 0.5 * smooth(rng, 4), 2.9, 3.3)
    height = 0.10 * fractal(rng, 30, octaves=4) - 1.2 * pores
    dark = pores * 0.9
    if panels:
        wide, high = rng.choice([2, 3]), rng.choice([2, 3])
        u, v = (x * wide + rng.random() * 0.5) % 1, (y * high + rng.random() * 0.5) % 1
        joint = np.minimum(np.minimum(u, 1 - u) / wide, np.minimum(v, 1 - v) / high)
        hole = np.hypot((np.minimum(u, 1 - u) - 0.16) / wide, (np.minimum(v, 1 - v) - 0.18) / high)
        dark = np.maximum(dark, 1 - step(joint, 0.001, 0.004))
        dark = np.maximum(dark, 1 - step(hole, 0.011, 0.014))
        height = height + 3 * step(joint, 0.0, 0.006) + 3 * step(hole, 0.009, 0.016)
    return _texture(height, clouds * (1 - dark), dark)


def plaster(rng: Rng) -> Field:
    """Return the texture of trowelled lime plaster: wash (1)."""
    height = np.zeros((SIDE, SIDE), np.float32)
    for cells_across in (3.0, 4.5, 7.0, 10.0):
        # A coat ends in a soft edge on one side, and thins out on the other.
        coat = fractal(rng, cells_across, cells_across * rng.uniform(0.5, 1.4), octaves=4, gain=0.42)
        lip = step(coat, 0.0, 0.10) * (1 - 0.55 * step(coat, 0.1, 1.6))
        height += lip * 3.0 / cells_across
    height += 0.10 * fractal(rng, 26, octaves=5, gain=0.62)
    wash = 0.40 * step(fractal(rng, 2.2, octaves=7, gain=0.62), -1.2, 2.2) + 0.10 * height
    return _texture(gaussian_filter(height, 0.8), wash.clip(0, 0.6))


def weave(rng: Rng, colors: int, threads: int, checked: bool) -> Field:
    """Return the texture of woven cloth: hollows (1), stripes or checks of further yarns (2, 3, 4)."""
    x, y = grid()
    wobble_x, wobble_y = 0.0016 * smooth(rng, 14, 60), 0.0016 * smooth(rng, 60, 14)
    u, v = (x + wobble_x) * threads, (y + wobble_y) * threads
    over = ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)
    warp, weft = np.abs(np.sin(math.pi * u)), np.abs(np.sin(math.pi * v))
    height = over * warp**0.6 * (0.6 + 0.4 * weft) + (1 - over) * weft**0.6 * (0.6 + 0.4 * warp)
    slub = 0.5 * smooth(rng, 8, threads * 0.8) + 0.5 * smooth(rng, threads * 0.8, 8)
    hollow = (0.75 * (1 - height) + 0.10 * slub).clip(0, 0.85)
    weights = [hollow, np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)]
    if colors > 1:
        count = int(rng.integers(3, 7)) * (colors if not checked else 2)
        stripe = _bands(rng, colors, count, y)
        if checked:
            stripe = np.where(over > 0.5, stripe, _bands(rng, colors, count, x))
        for number in range(1, colors):
            weights[number] = (stripe == number) * (1 - 0.5 * hollow)
            weights[0] = weights[0] * (1 - 0.5 * (stripe == number))
    return _texture(height + 0.15 * slub, *weights)


def _bands(rng: Rng, colors: int, count: int, place: Field) -> Field:
    widths = rng.uniform(0.5, 1.5, count)
    edges = np.cumsum(widths) / widths.sum()
    return (np.searchsorted(edges, place) % colors).astype(int)


def brushed(rng: Rng) -> Field:
    """Return the texture of brushed metal: fine scratches along the first axis (1)."""
    scratch = smooth(rng, 3, 700) * 0.5 + smooth(rng, 9, 500) * 0.4 + smooth(rng, 1.5, 260) * 0.3
    return _texture(scratch, (0.22 + 0.14 * scratch).clip(0, 0.6))


def tiles(rng: Rng, colors: int, across: int, down: int, offset: float, rough: float) -> Field:
    """Return the texture of rows of tiles or bricks: joints (1), further colours (2, 3, 4); `offset` shifts odd rows."""
    x, y = grid()
    ragged = rough * 0.0011
    x, y = x + ragged * fractal(rng, 30, octaves=3), y + ragged * fractal(rng, 30, octaves=3)
    row = np.floor(y * down).astype(int)
    place = x * across + offset * (row % 2)
    column = np.floor(place).astype(int)
    number = (row - row.min()) * (column.max() + 2) + column
    edge = np.minimum(
        np.minimum(place - column, 1 - (place - column)) / across,
        np.minimum(y * down - row, 1 - (y * down - row)) / down,
    )
    joint = 1 - step(edge, 0.0035, 0.0055)
    lean = rng.normal(0, 1, (int(number.max()) + 1, 2))[number]
    height = 6 * step(edge, 0.002, 0.012) + 0.5 * rough * fractal(rng, 60, octaves=3)
    height = height + (1 - rough) * 3.0 * (
        lean[..., 0] * (place - column - 0.5) / across + lean[..., 1] * (y * down - row - 0.5) / down
    )
    if rng.random() < 0.5 and colors > 1:
        kind = (row + column) % colors
    else:
        kind = rng.integers(0, colors, int(number.max()) + 1)[number]
    weights = [np.maximum(joint, 0.0)]
    weights += [(kind == index) * (1 - joint) for index in range(1, min(colors, 4))]
    return _texture(height, *weights)


def sand(rng: Rng, ripples: float) -> Field:
    """Return the texture of sand: hollows (1) and dark grains (2), with wind ripples along the second axis."""
    x, y = grid()
    warp = 0.25 * smooth(rng, 3, 3) + 0.10 * smooth(rng, 9, 6)
    phase = (y * ripples + warp * 1.6 + 0.3 * x) % 1
    crest = np.where(phase < 0.7, phase / 0.7, (1 - phase) / 0.3)
    crest = crest * step(smooth(rng, 3), -1.8, 0.4)
    speck = rng.standard_normal((SIDE, SIDE)).astype(np.float32)
    height = crest * (7.0 if ripples > 0 else 0.0) + 0.3 * speck + 1.6 * fractal(rng, 8, octaves=5)
    return _texture(height, (0.30 * (1 - crest) + 0.08 * speck + 0.1).clip(0, 0.7), step(speck, 2.2, 2.9) * 0.7)


def water(rng: Rng, scale: float) -> Field:
    """Return the texture of rippled water: the bright net that ripples draw on the ground (1), shallows (2)."""
    ripples = smooth(rng, scale) + 0.6 * smooth(rng, scale * 2.1) + 0.3 * smooth(rng, scale * 4.3)
    x, y = grid()
    x, y = x + 0.020 * smooth(rng, scale * 1.5), y + 0.020 * smooth(rng, scale * 1.5)
    net = np.zeros_like(x)
    for count in (scale * scale * 2.0, scale * scale * 4.5):
        points = rng.random((int(count), 2)) * 1.2 - 0.1
        _, first, second = cells(points)
        line = np.exp(-(((second - first) * scale / 0.10) ** 1.0))
        shift = np.roll(line, (int(rng.integers(-9, 9)), int(rng.integers(-9, 9))), (0, 1))
        net = np.maximum(net, 0.5 * (line + shift))
    columns = (x * SIDE).astype(int).clip(0, SIDE - 1)
    rows = (y * SIDE).astype(int).clip(0, SIDE - 1)
    net = net[rows, columns] * step(smooth(rng, scale * 0.7), -1.5, 1.0)
    return _texture(ripples, (net**1.3 * 0.95).clip(0, 1), 0.45 * step(smooth(rng, 2), -0.5, 1.5))


def flutes(count: int) -> Field:
    """Return the texture of upright half-round ribs: their hollows (1)."""
    x, _ = grid()
    phase = np.abs((x * count) % 1 - 0.5) * 2
    return _texture(np.sqrt((1 - phase**2).clip(0.0, 1)), 0.5 * step(phase, 0.7, 1.0))


def paper(rng: Rng) -> Field:
    """Return the texture of paper with a little tooth."""
    return _texture(smooth(rng, 200) + 0.5 * smooth(rng, 420))
