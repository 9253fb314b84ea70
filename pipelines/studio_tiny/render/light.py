"""Lamps, gobos and leaves."""

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

Rng = np.random.Generator
GOBO = 512
_FINE = 2


class Rig(msgspec.Struct, frozen=True, kw_only=True):
    """The lamps of a set. Each gives an irradiance of 1 on a surface at the target that faces it."""

    target: tuple[float, float, float]
    #: Azimuth (0 from behind the camera, positive from the right) and elevation of the soft box and the sun, in degrees.
    azimuth: float
    elevation: float
    distance: float = 4.0
    #: Half the side of the soft box.
    softness: float = 1.0
    #: Half the angle of the sun's disc, in degrees. A larger disc blurs shadows.
    sun_blur: float = 1.0
    accent_azimuth: float = 120.0
    accent_elevation: float = 25.0
    accent_softness: float = 0.5
    #: Half the side of the gobo's picture, in metres; 0 is no gobo.
    gobo_size: float = 0.0
    gobo_distance: float = 2.5
    gobo_shift: tuple[float, float] = (0.0, 0.0)
    #: The part of the light that passes beside the gobo's picture, 0–1.
    gobo_outside: float = 0.0

    def table(self) -> NDArray[np.float64]:
        """Return the soft box, the sun and the accent as rows, as the tracer reads them."""
        rows = np.zeros((3, 20))
        for row, azimuth, elevation, distance, half in (
            (rows[0], self.azimuth, self.elevation, self.distance, self.softness),
            (rows[2], self.accent_azimuth, self.accent_elevation, self.distance * 0.8, self.accent_softness),
        ):
            toward, across, up = _axes(azimuth, elevation)
            centre = np.array(self.target) + toward * distance
            row[:13] = [*centre, *(across * half), *(up * half), *(-toward), distance**2]
        toward, across, up = _axes(self.azimuth, self.elevation)
        target = np.array(self.target)
        rows[1, :17] = [
            *toward,
            math.radians(self.sun_blur),
            *across,
            *up,
            1.0,
            float(self.gobo_size > 0),
            float(target @ toward) + self.gobo_distance,
            max(self.gobo_size, 1e-6),
            float(target @ across) + self.gobo_shift[0],
            float(target @ up) + self.gobo_shift[1],
            self.gobo_outside,
        ]
        return rows


def _axes(azimuth: float, elevation: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the direction toward a lamp, and two axes at right angles to it."""
    a, e = math.radians(azimuth), math.radians(elevation)
    toward = np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    across = np.array([math.cos(a), 0.0, -math.sin(a)])
    return toward, across, np.cross(toward, across)


# ── gobos: pictures (GOBO, GOBO, 1) of the light that passes, 0–1 ─────────────────────────────────────────────────────


def window(rng: Rng) -> NDArray[Any]:
    """Return the gobo of a window: panes between bars, in one to three casements, sometimes arched."""
    image, draw = _canvas(0)
    casements = int(rng.choice([1, 2, 2, 3]))
    columns, rows = int(rng.integers(1, 3)), int(rng.integers(2, 5))
    bar, frame = rng.uniform(0.008, 0.02), rng.uniform(0.03, 0.07)
    wide = rng.uniform(0.35, 0.62) if casements == 1 else 0.9
    left, top, bottom = 0.5 - wide / 2, rng.uniform(0.05, 0.15), rng.uniform(0.85, 0.97)
    arched = rng.random() < 0.3
    each = wide / casements
    for casement in range(casements):
        x0 = left + casement * each + frame / 2
        pane_w = (each - frame) / columns
        head = each / 2 if arched else 0.0
        pane_h = (bottom - top - head) / rows
        if arched:
            for start, end in ((182, 268), (272, 358)):
                _pie(draw, x0 + bar / 2, top, x0 + each - frame - bar / 2, top + 2 * head - frame, start, end)
        for column in range(columns):
            for row in range(rows):
                a, b = x0 + column * pane_w + bar / 2, top + head + row * pane_h + bar / 2
                _box(draw, a, b, a + pane_w - bar, b + pane_h - bar)
    return _finished(image)


def blinds(rng: Rng) -> NDArray[Any]:
    """Return the gobo of blinds: slats with their cords."""
    image, draw = _canvas(0)
    slats = int(rng.integers(10, 22))
    pitch = 1.0 / slats
    part = rng.uniform(0.35, 0.6)
    for slat in range(slats):
        _box(draw, 0.03, slat * pitch, 0.97, (slat + part) * pitch)
    for cord in (0.25, 0.75):
        draw.rectangle(_scaled(cord - 0.003, 0, cord + 0.003, 1), fill=0)
    return _finished(image)


def leaves(rng: Rng) -> NDArray[Any]:
    """Return the gobo of branches with palm, olive or broad leaves. Light passes between them."""
    image, draw = _canvas(255)
    kind = str(rng.choice(["palm", "olive", "broad"]))
    for _ in range(int(rng.integers(3, 6))):
        edge = rng.uniform(0, 2 * math.pi)
        start = (0.5 + 0.75 * math.cos(edge), 0.5 + 0.75 * math.sin(edge))
        angle = edge + math.pi + rng.normal(0, 0.35)
        branch(rng, draw, kind, start, angle, rng.uniform(0.7, 1.1), 0, GOBO * _FINE)
    return _finished(image)


def foreground(rng: Rng, width: int, height: int) -> NDArray[Any]:
    """Return how much leaves close to the lens hide (height, width; 0–1): far out of focus, at the edge of the frame."""
    side = max(width, height)
    image = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(image)
    kind = str(rng.choice(["palm", "olive", "broad"]))
    corner = (float(rng.choice([-0.05, 1.05])) * width / side, float(rng.choice([-0.05, 0.35, 1.05])) * height / side)
    inward = math.atan2(0.5 * height / side - corner[1], 0.5 * width / side - corner[0])
    for _ in range(int(rng.integers(1, 4))):
        branch(rng, draw, kind, corner, inward + rng.normal(0, 0.7), rng.uniform(0.3, 0.5), 255, side)
    alpha = np.asarray(image, np.float32)[:height, :width] / 255
    return gaussian_filter(alpha, side * rng.uniform(0.008, 0.02))


def branch(
    rng: Rng, draw: Any, kind: str, start: tuple[float, float], angle: float, length: float, fill: Any, side: int
) -> None:
    """Draw a branch with its leaves. Places and lengths are parts, 0–1, of a picture of `side` pixels."""
    x, y = start
    pieces = 30
    bend = rng.normal(0, 0.7) / pieces
    size = {"palm": rng.uniform(0.22, 0.36), "olive": rng.uniform(0.08, 0.14), "broad": rng.uniform(0.10, 0.17)}[kind]
    slim = {"palm": 0.07, "olive": 0.28, "broad": 0.45}[kind]
    every = {"palm": 1, "olive": 2, "broad": 4}[kind]
    for piece in range(pieces):
        nx, ny = x + math.cos(angle) * length / pieces, y + math.sin(angle) * length / pieces
        draw.line((x * side, y * side, nx * side, ny * side), fill=fill, width=max(1, round(side * 0.006)))
        if piece > 3 and piece % every == 0:
            for turn in (-1, 1):
                lean = angle + turn * (rng.uniform(0.6, 0.9) if kind == "palm" else rng.uniform(0.5, 1.2))
                grown = size * (1 - 0.6 * piece / pieces) * rng.uniform(0.8, 1.15)
                leaf(draw, (nx, ny), lean, grown, slim, fill, side)
        x, y, angle = nx, ny, angle + bend
    leaf(draw, (x, y), angle, size * 0.6, slim, fill, side)


def leaf(draw: Any, root: tuple[float, float], angle: float, length: float, slim: float, fill: Any, side: int) -> None:
    along = np.linspace(0, 1, 14)
    half = slim * length * 0.5 * np.sin(math.pi * along**0.8)
    outline = [*zip(along * length, half, strict=True), *zip(along[::-1] * length, -half[::-1], strict=True)]
    cos, sin = math.cos(angle), math.sin(angle)
    draw.polygon(
        [((root[0] + p * cos - q * sin) * side, (root[1] + p * sin + q * cos) * side) for p, q in outline], fill=fill
    )


def _canvas(level: int) -> tuple[Image.Image, Any]:
    image = Image.new("L", (GOBO * _FINE, GOBO * _FINE), level)
    return image, ImageDraw.Draw(image)


def _scaled(*places: float) -> tuple[float, ...]:
    return tuple(place * GOBO * _FINE for place in places)


def _box(draw: Any, x0: float, y0: float, x1: float, y1: float) -> None:
    if x1 > x0 and y1 > y0:
        draw.rectangle(_scaled(x0, y0, x1, y1), fill=255)


def _pie(draw: Any, x0: float, y0: float, x1: float, y1: float, start: float, end: float) -> None:
    if x1 > x0 and y1 > y0:
        draw.pieslice(_scaled(x0, y0, x1, y1), start, end, fill=255)


def _finished(image: Image.Image) -> NDArray[Any]:
    small = np.asarray(image.resize((GOBO, GOBO), Image.Resampling.BOX), np.float32) / 255
    return gaussian_filter(small, 0.7)[..., None]
