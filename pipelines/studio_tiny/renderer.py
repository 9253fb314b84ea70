"""The pictures studio-tiny learns from: nine catalogue backgrounds drawn by arithmetic.

Coordinates: `x` and `y` run over the frame from 0 to 1; `across` and `down` have the same scale on both axes and an area
of 1, so that textures keep their size at every aspect ratio. Colours are float RGB, 0–1. A picture is a pure function of
its spec, its size and its seed.
"""

import colorsys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipelines.studio_tiny.vocabulary import COLORS, MOODS, SCENES

Field = NDArray[Any]
Rgb = tuple[int, int, int]


class RenderSpec(msgspec.Struct, frozen=True):
    scene: str
    mood: str
    colors: tuple[Rgb, ...]


def render(spec: RenderSpec, width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """The picture, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    canvas = _Canvas(width, height, rng)
    colors = _palette(spec, rng)
    drawn = _SCENES[spec.scene](canvas, colors)
    lit = _MOODS[spec.mood](canvas, drawn)
    return (lit.clip(0, 1) * 255).round().astype(np.uint8)


#: Shares of the scenes in the training set; those whose features lie anywhere take more pictures to learn.
_SHARES = {"marble": 3.0, "bokeh": 2.0, "concrete": 2.0, "fabric": 1.5}


def random_spec(rng: np.random.Generator) -> RenderSpec:
    """Any scene, any mood, none to three colours: strong ones, pastels, darks and greys alike."""
    shares = np.array([_SHARES.get(scene, 1.0) for scene in SCENES])
    count = int(rng.choice(COLORS + 1, p=[0.1, 0.3, 0.35, 0.25]))
    colors = tuple(_random_color(rng) for _ in range(count))
    return RenderSpec(str(rng.choice(list(SCENES), p=shares / shares.sum())), str(rng.choice(list(MOODS))), colors)


def _random_color(rng: np.random.Generator) -> Rgb:
    if rng.random() < 0.3:
        red, green, blue = (int(channel) for channel in rng.integers(0, 256, 3))
        return red, green, blue
    saturation = float(rng.choice([rng.uniform(0, 0.15), rng.uniform(0.15, 0.5), rng.uniform(0.5, 1)]))
    channels = colorsys.hsv_to_rgb(float(rng.random()), saturation, float(rng.uniform(0.12, 1)))
    return round(channels[0] * 255), round(channels[1] * 255), round(channels[2] * 255)


class _Canvas:
    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        self.width, self.height, self.rng = width, height, rng
        side = (width * height) ** 0.5
        self.x, self.y = np.meshgrid(
            (np.arange(width, dtype=np.float32) + 0.5) / width, (np.arange(height, dtype=np.float32) + 0.5) / height
        )
        self.aspect = (width / side, height / side)
        self.across, self.down = self.x * self.aspect[0], self.y * self.aspect[1]
        #: Standard deviation of blurs in pixels for 1 % of the frame.
        self.percent = side / 100

    def noise(self, cells_across: float, cells_down: float | None = None) -> Field:
        """Smooth noise of about unit deviation, with so many cells to a unit of length."""
        cells_down = cells_across if cells_down is None else cells_down
        columns = max(2, round(cells_across * self.aspect[0]) + 2)
        rows = max(2, round(cells_down * self.aspect[1]) + 2)
        coarse = Image.fromarray(self.rng.standard_normal((rows, columns)).astype(np.float32))
        return np.asarray(coarse.resize((self.width, self.height), Image.Resampling.BICUBIC), np.float32) * 1.3

    def clouds(self, cells: float, octaves: int = 4, gain: float = 0.5) -> Field:
        """Fractal noise: octaves of smooth noise, each twice as fine and `gain` as strong."""
        total = np.zeros((self.height, self.width), np.float32)
        for octave in range(octaves):
            total += self.noise(cells * 2**octave) * gain**octave
        return total

    def grain(self, strength: float) -> Field:
        return self.rng.standard_normal((self.height, self.width), dtype=np.float32) * strength

    def filled(self, color: Field) -> Field:
        return np.broadcast_to(color, (self.height, self.width, 3)).astype(np.float32)

    def jitter(self, centre: float, spread: float) -> float:
        return float(centre + spread * self.rng.uniform(-1, 1))


def _palette(spec: RenderSpec, rng: np.random.Generator) -> list[Field]:
    """Three colours: those asked for, then ones that go with them."""
    chosen = [np.array(color, np.float32) / 255 for color in spec.colors]
    if not chosen:
        hue, saturation, value = _HABITS[spec.scene]
        hue += rng.uniform(-0.04, 0.04)
        chosen.append(np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value + rng.uniform(-0.08, 0.08)), np.float32))
    if len(chosen) < 2:
        chosen.append(_COMPANIONS[spec.scene][0](chosen[0]))
    if len(chosen) < 3:
        chosen.append(_COMPANIONS[spec.scene][1](chosen[0]))
    return chosen


def _toward(target: Sequence[float], part: float) -> Callable[[Field], Field]:
    goal = np.array(target, np.float32)
    return lambda color: color * (1 - part) + goal * part


_WHITE, _BLACK = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)

#: Hue, saturation and value where a spec names no colour.
_HABITS: dict[str, tuple[float, float, float]] = {
    "sweep": (0.58, 0.10, 0.80),
    "marble": (0.10, 0.05, 0.90),
    "wood": (0.08, 0.50, 0.58),
    "fabric": (0.98, 0.25, 0.75),
    "concrete": (0.58, 0.03, 0.60),
    "bokeh": (0.66, 0.55, 0.28),
    "beach": (0.55, 0.35, 0.90),
    "window": (0.09, 0.18, 0.82),
    "podium": (0.03, 0.22, 0.84),
}

#: What the second and third colour are where a spec names fewer: made from the first.
_COMPANIONS: dict[str, tuple[Callable[[Field], Field], Callable[[Field], Field]]] = {
    "sweep": (_toward(_WHITE, 0.25), _toward(_WHITE, 0.6)),
    "marble": (_toward((0.25, 0.24, 0.27), 0.75), _toward((0.75, 0.58, 0.3), 0.7)),
    "wood": (_toward(_BLACK, 0.3), _toward(_BLACK, 0.7)),
    "fabric": (_toward(_BLACK, 0.45), _toward(_WHITE, 0.5)),
    "concrete": (_toward(_BLACK, 0.25), _toward(_WHITE, 0.3)),
    "bokeh": (_toward((1.0, 0.8, 0.45), 0.7), _toward(_WHITE, 0.6)),
    "beach": (_toward((0.08, 0.38, 0.55), 0.65), _toward((0.9, 0.8, 0.62), 0.8)),
    "window": (_toward((0.5, 0.36, 0.26), 0.6), _toward((1.0, 0.95, 0.82), 0.8)),
    "podium": (_toward(_WHITE, 0.45), _toward(_BLACK, 0.2)),
}


def _step(value: Field, width: float) -> Field:
    """0 below 0, 1 above `width`, smooth between."""
    scaled = (value / width).clip(0, 1)
    return scaled * scaled * (3 - 2 * scaled)


def _mix(a: Field, b: Field, part: Field) -> Field:
    """`a` where part is 0, `b` where it is 1; each is one colour (3,) or a picture."""
    weight = part[..., None]
    return a * (1 - weight) + b * weight


def _shade(picture: Field, light: Field) -> Field:
    """Multiply by a light field around 1; above 1 it goes toward white, so that colours do not clip hard."""
    dark = picture * np.minimum(light, 1)[..., None]
    return dark + (1 - dark) * (np.maximum(light, 1) - 1)[..., None]


# ── scenes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _sweep(c: _Canvas, colors: list[Field]) -> Field:
    """A seamless cove: a wall that curves into a floor, a pool of light on it."""
    bend = c.jitter(0.70, 0.04)
    floor = _step(c.y - bend + 0.09, 0.18)
    picture = _mix(colors[0], colors[1], floor)
    pool = np.exp(-(((c.x - c.jitter(0.5, 0.12)) / 0.42) ** 2 + ((c.y - 0.40) / 0.42) ** 2))
    crease = np.exp(-(((c.y - bend) / 0.05) ** 2))
    return _shade(picture, 0.82 + 0.30 * pool - 0.16 * crease + 0.10 * floor)


def _marble(c: _Canvas, colors: list[Field]) -> Field:
    """Polished stone: bold slanting veins of the second colour with a dark core, thin ones of the third."""
    angle = c.jitter(0.85, 0.15)
    along = c.across * np.cos(angle) + c.down * np.sin(angle)
    warp = 0.17 * c.noise(1.6) + 0.06 * c.noise(4) + 0.02 * c.noise(9)
    veins = c.jitter(2.1, 0.3)
    place = np.abs((along * veins + warp + c.rng.random()) % 1 - 0.5)
    beside = np.abs((along * veins + 1.2 * warp + 0.10 * c.noise(3) + c.rng.random()) % 1 - 0.5)
    mist = _step(c.noise(2.5) + 0.3 * c.noise(5) + 0.2, 1.8)
    strength = (0.80 + 0.25 * c.noise(2.5)).clip(0.40, 1)
    picture = _mix(colors[0], colors[1], 0.20 * mist)
    picture = _mix(picture, colors[2], 0.75 * np.exp(-((beside / 0.045) ** 2)))
    picture = _mix(picture, colors[1], 0.65 * np.exp(-place / 0.10) * strength)
    picture = _mix(picture, colors[1] * 0.6, 0.95 * np.exp(-((place / 0.060) ** 2)) * strength)
    return _shade(picture, 1.03 + 0.08 * (0.5 - c.y))


def _wood(c: _Canvas, colors: list[Field]) -> Field:
    """Upright boards, each with its own tone and grain, dark gaps between."""
    boards = c.jitter(5.5, 1.0)
    place = c.across * boards + c.rng.random()
    board = np.floor(place).astype(int)
    inside = place - board
    tone = c.rng.uniform(0, 1, board.max() + 1).astype(np.float32)[board]
    shift = c.rng.uniform(0, 9, board.max() + 1).astype(np.float32)[board]
    streaks = c.noise(70, 2.5) * 0.5 + c.noise(28, 1.4) * 0.6
    rings = np.sin(2 * np.pi * (inside * 2.2 + shift + 0.55 * c.noise(7, 1.2) + 0.4 * c.down))
    grain = 0.5 + 0.22 * rings + 0.20 * streaks
    picture = _mix(colors[0], colors[1], (0.55 * tone * 0.7 + 0.5 * (grain - 0.35)).clip(0, 1))
    picture = _mix(picture, colors[2], _step(grain - 0.78, 0.4) * 0.35)
    gap = np.minimum(inside, 1 - inside) / boards
    return _shade(picture, (0.25 + 0.75 * _step(gap - 0.0015, 0.007)) * (0.92 + 0.16 * tone))


def _fabric(c: _Canvas, colors: list[Field]) -> Field:
    """Cloth hanging in folds that run down the frame and lean a little."""
    lean = c.jitter(0.0, 0.25)
    # Waves longer than a fold is wide, or the folds would close into rings as in agate.
    place = c.across + lean * c.down + 0.05 * c.noise(1.2, 1) + 0.008 * c.noise(4, 2)
    phase, folds = c.rng.random() * 7, c.jitter(4.2, 0.8)
    height = np.sin(2 * np.pi * folds * place + phase) + 0.45 * np.sin(2 * np.pi * folds * 2.17 * place + 2.1 * phase)
    slope = np.cos(2 * np.pi * folds * place + phase) + 0.6 * np.cos(2 * np.pi * folds * 2.17 * place + 2.1 * phase)
    picture = _mix(colors[0], colors[1], _step(-height - 0.15, 1.3) * 0.85)
    picture = _mix(picture, colors[2], _step(height - 0.65, 0.9) * 0.55)
    weave = np.sin(c.across * 900) * np.sin(c.down * 900) * 0.012
    return _shade(picture, 0.96 + 0.17 * slope / 1.6 + 0.08 * height / 1.45 + weave)


def _concrete(c: _Canvas, colors: list[Field]) -> Field:
    """Four cast panels: mottled, a joint between them, the holes of the formwork in the corners of each."""
    mottle = c.noise(2.5) + 0.50 * c.noise(6) + 0.15 * c.noise(14)
    picture = _mix(colors[0], colors[1], _step(mottle * 0.5 + 0.05, 1.5) * 0.7)
    picture = _mix(picture, colors[2], _step(-mottle * 0.5 - 0.25, 1.4) * 0.6)
    u = np.abs(c.across - c.jitter(0.5, 0.02) * c.aspect[0])
    v = np.abs(c.down - c.jitter(0.5, 0.02) * c.aspect[1])
    joint = np.minimum(u, v)
    # Along each axis the distance to the nearer of the two rows of holes of a panel.
    hole = np.hypot(np.abs(u - 0.24) - 0.14, np.abs(v - 0.24) - 0.14)
    seam = 0.55 * np.exp(-((joint / 0.014) ** 2)) - 0.12 * np.exp(-(((joint - 0.032) / 0.014) ** 2))
    light = (1.02 - seam + 0.08 * (0.5 - c.y)) * (1 - 0.65 * (1 - _step(hole - 0.024, 0.010)))
    return _shade(picture, light + c.grain(0.02))


def _bokeh(c: _Canvas, colors: list[Field]) -> Field:
    """Lights out of focus: soft-edged discs over a dim ground."""
    glow = np.exp(-(((c.x - 0.5) / 0.6) ** 2 + ((c.y - c.jitter(0.5, 0.15)) / 0.5) ** 2))
    ground = colors[0] * 0.8
    picture = _shade(c.filled(ground), 0.70 + 0.40 * glow)
    lights = [colors[1], _toward(_WHITE, 0.45)(colors[0]), colors[2]]
    # About one light to each field of a grid, so that they neither heap up nor leave the frame empty.
    side = 0.30
    columns, rows = (max(2, round(length / side)) for length in c.aspect)
    for index in range(columns * rows):
        across = (index % columns + 0.5 + c.jitter(0, 0.22)) * c.aspect[0] / columns
        down = (index // columns + 0.5 + c.jitter(0, 0.22)) * c.aspect[1] / rows
        radius = c.jitter(0.110, 0.035)
        distance = np.hypot(c.across - across, c.down - down) / radius
        disc = (1 - _step(distance - 0.88, 0.16)) * (0.70 + 0.30 * _step(distance - 0.55, 0.40))
        picture = _mix(picture, lights[int(c.rng.integers(3))], disc * c.jitter(0.75, 0.20))
    return picture


def _beach(c: _Canvas, colors: list[Field]) -> Field:
    """Sky above a level horizon, a band of sea, a line of foam, sand in front."""
    horizon, shore = c.jitter(0.50, 0.04), c.jitter(0.70, 0.03)
    haze = np.exp(-((horizon - c.y).clip(0, 1) / 0.16))
    sky = _mix(colors[0], _toward(_WHITE, 0.55)(colors[0]), haze * 0.8)
    sky = _mix(sky, np.ones(3, np.float32), _step(c.clouds(2, 4) * 0.6 + c.noise(2, 7) * 0.3 - 0.45, 1.6) * 0.5)
    depth = ((c.y - horizon) / (shore - horizon)).clip(0, 1)
    ripples = np.sin(2 * np.pi * (14 * depth**0.6 + 0.35 * c.noise(5, 14))) * (0.4 + 0.6 * depth)
    sea = _shade(c.filled(colors[1]), 0.86 + 0.22 * depth + 0.09 * ripples)
    edge = c.y - shore - 0.014 * c.noise(4, 1)
    sand = _shade(
        c.filled(colors[2]),
        0.98 + 0.05 * c.noise(9, 30) - 0.16 * np.exp(-(edge.clip(0, 1) / 0.035)) + c.grain(0.02),
    )
    picture = _mix(sky, sea, _step(c.y - horizon, 0.004))
    picture = _mix(picture, sand, _step(edge, 0.012))
    return _mix(picture, np.ones(3, np.float32), np.exp(-((edge / 0.011) ** 2)) * 0.85)


def _window(c: _Canvas, colors: list[Field]) -> Field:
    """A wall and its floor, with the slanted light of a window of six panes on them."""
    floor_line = c.jitter(0.82, 0.02)
    picture = _mix(colors[0], colors[1], _step(c.y - floor_line, 0.006))
    skirting = np.exp(-(((c.y - floor_line + 0.006) / 0.009) ** 2))
    slant = c.jitter(0.38, 0.08)
    u = (c.x - c.jitter(0.50, 0.06) + slant * (c.y - 0.45)) / 0.30
    v = (c.y - 0.10 - 0.14 * (c.x - 0.5)) / 0.64
    soft = 0.03
    inside = _step(0.5 - np.abs(u) * 0.5, soft) * _step(0.5 - np.abs(v - 0.5), soft)
    bars_u = _step(np.abs(u) - 0.045, soft)
    bars_v = np.minimum(_step(np.abs(v - 1 / 3) - 0.022, soft), _step(np.abs(v - 2 / 3) - 0.022, soft))
    light = inside * bars_u * bars_v
    shadow = 0.70 + 0.12 * (1 - c.y) + 0.03 * c.noise(2)
    lit = _mix(_shade(picture, shadow - 0.14 * skirting), colors[2], light * 0.22)
    return _shade(lit, 1 + 0.30 * light)


def _podium(c: _Canvas, colors: list[Field]) -> Field:
    """A round stand on a floor before a wall, lit from the left."""
    line = c.jitter(0.64, 0.02)
    wall = _shade(
        c.filled(colors[0]),
        0.86 + 0.22 * np.exp(-(((c.x - 0.4) / 0.45) ** 2 + ((c.y - 0.35) / 0.4) ** 2)),
    )
    floor = _shade(
        _mix(colors[0], colors[2], np.full_like(c.y, 0.75)), 0.82 + 0.25 * (c.y - line).clip(0, 1) / (1 - line)
    )
    picture = _mix(wall, floor, _step(c.y - line, 0.03))
    middle = c.jitter(0.5, 0.03) * c.aspect[0]
    radius = c.jitter(0.27, 0.03) * min(c.aspect[0], 1.15)
    flat = 0.26
    top, bottom = c.jitter(0.60, 0.02) * c.aspect[1], c.jitter(0.83, 0.02) * c.aspect[1]
    u = (c.across - middle) / radius
    arc = flat * radius * np.sqrt((1 - u * u).clip(0, 1))
    edge = 0.006
    shadow = np.exp(
        -((((c.across - middle - 0.12) / (radius * 1.25)) ** 2 + ((c.down - bottom) / (radius * 0.36)) ** 2) ** 2)
    )
    picture = _shade(picture, 1 - 0.45 * shadow)
    within = _step(1 - np.abs(u), edge / radius)
    body = within * _step(c.down - top, edge) * _step(bottom + arc - c.down, edge)
    side = _shade(c.filled(colors[1]), 0.90 - 0.34 * u.clip(-1, 1) - 0.10 * u**2)
    picture = _mix(picture, side, body)
    lid = _step(1 - np.hypot(u, (c.down - top) / (flat * radius)), edge / radius / flat)
    plate = _shade(c.filled(colors[1]), 1.16 - 0.10 * u.clip(-1, 1))
    return _mix(picture, plate, lid)


_SCENES: dict[str, Callable[[_Canvas, list[Field]], Field]] = {
    "sweep": _sweep,
    "marble": _marble,
    "wood": _wood,
    "fabric": _fabric,
    "concrete": _concrete,
    "bokeh": _bokeh,
    "beach": _beach,
    "window": _window,
    "podium": _podium,
}


# ── moods ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _vignette(c: _Canvas, strength: float) -> Field:
    return (1 - strength * (((c.x - 0.5) / 0.75) ** 2 + ((c.y - 0.5) / 0.75) ** 2)).astype(np.float32)


def _tint(picture: Field, red: float, green: float, blue: float) -> Field:
    return picture * np.array((red, green, blue), np.float32)


def _bright(c: _Canvas, picture: Field) -> Field:
    return 1 - (1 - picture) * 0.82


def _dark(c: _Canvas, picture: Field) -> Field:
    return picture * (0.72 * _vignette(c, 0.75))[..., None]


def _warm(c: _Canvas, picture: Field) -> Field:
    return _tint(picture, 1.05, 0.99, 0.84) + np.array((0.02, 0.008, 0), np.float32)


def _cool(c: _Canvas, picture: Field) -> Field:
    return _tint(picture, 0.86, 0.98, 1.04) + np.array((0, 0.005, 0.025), np.float32)


def _dramatic(c: _Canvas, picture: Field) -> Field:
    beam = np.exp(-((((c.x - 0.36) / 0.42) ** 2 + ((c.y - 0.38) / 0.5) ** 2) ** 1.2))
    return _shade(picture, (0.42 + 0.72 * beam).astype(np.float32))


def _soft(c: _Canvas, picture: Field) -> Field:
    haze = gaussian_filter(picture, (c.percent * 1.2, c.percent * 1.2, 0))
    return 0.12 + (0.45 * picture + 0.55 * haze) * 0.84


def _vivid(c: _Canvas, picture: Field) -> Field:
    grey = picture.mean(axis=2, keepdims=True)
    return ((grey + (picture - grey) * 1.35) - 0.5) * 1.06 + 0.5


_MOODS: dict[str, Callable[[_Canvas, Field], Field]] = {
    "neutral": lambda c, picture: picture * _vignette(c, 0.12)[..., None],
    "bright": _bright,
    "dark": _dark,
    "warm": _warm,
    "cool": _cool,
    "dramatic": _dramatic,
    "soft": _soft,
    "vivid": _vivid,
}
