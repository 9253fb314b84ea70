"""Lights out of focus, drawn as layers: discs of the lens's opening over a dim ground."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from pipelines.studio_tiny.render.layers import Layers
from pipelines.studio_tiny.render.noise import Field
from pipelines.studio_tiny.render.sets import Pigment

#: The name of this scene.
BOKEH = "bokeh"
GROUND = ("#1d2233", "#2a2430", "#14201f", "#33281f", "#241a26", "#3a3440")
LIGHTS = ("#f4c27a", "#ffdca8", "#e8935a", "#f2e6d0", "#d86f5c", "#8fb6d9", "#f0a8b8")


def lights(width: int, height: int, colors: int, seed: int) -> tuple[Layers, list[Pigment]]:
    """Return the layers and pigments of a picture of lights with at least `colors` colours, the ground's among them."""
    rng = np.random.default_rng(seed)
    kinds = max(1, colors - 1) + int(rng.random() < (0.8 if colors == 1 else 0.3))
    pigments = [Pigment("ground", GROUND), *(Pigment("lights", LIGHTS) for _ in range(kinds))]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    scale = math.sqrt(width * height)
    glow = np.zeros((height, width, len(pigments)), np.float32)
    cover = np.zeros((height, width, len(pigments)), np.float32)
    cover[..., 0] = 1
    slope, spread = rng.normal(0, 0.6, 2), rng.uniform(0.5, 0.9)
    pool = np.exp(
        -(((x / width - rng.uniform(0.2, 0.8)) / spread) ** 2) - ((y / height - rng.uniform(0.2, 0.8)) / spread) ** 2
    )
    glow[..., 0] = 0.80 + 0.30 * pool + 0.06 * slope[0] * (x / width - 0.5) + 0.06 * slope[1] * (y / height - 0.5)
    typical = rng.choice([0.025, 0.04, 0.06, 0.09])
    blades = int(rng.choice([0, 0, 0, 8]))
    turn = rng.uniform(0, math.pi)
    rim = rng.uniform(0.0, 0.35)
    # Each kind of light takes about this share of the picture. If several colours are wanted, none may take too little.
    wanted = rng.uniform(0.13, 0.2) if colors > 1 else rng.uniform(0.05, 0.2)
    band = (rng.uniform(0.3, 0.7), rng.uniform(0.12, 0.6))
    for kind in range(1, len(pigments)):
        for _ in range(600):
            if float(cover[..., kind].mean()) >= wanted * (1.0 if kind < colors else 0.5):
                break
            radius = scale * typical * rng.lognormal(0, 0.28)
            cx, cy = rng.uniform(-0.05, 1.05) * width, (band[0] + rng.normal(0, band[1])) * height
            if not -radius < cy < height + radius:
                continue
            x0, x1 = max(0, int(cx - radius - 3)), min(width, int(cx + radius + 4))
            y0, y1 = max(0, int(cy - radius - 3)), min(height, int(cy + radius + 4))
            if x1 <= x0 or y1 <= y0:
                continue
            alpha = _disc(
                x[y0:y1, x0:x1] - cx, y[y0:y1, x0:x1] - cy, radius, blades, turn, (cx / width - 0.5, cy / height - 0.5)
            )
            strength = rng.choice([1.0, 1.0, rng.uniform(0.25, 0.8)])
            level = strength * (1 - rim + rim * _edge(x[y0:y1, x0:x1] - cx, y[y0:y1, x0:x1] - cy, radius))
            opaque = alpha * min(1.0, strength + 0.1)
            window = (slice(y0, y1), slice(x0, x1))
            glow[window] *= (1 - 0.8 * opaque)[..., None]
            cover[window] *= (1 - opaque)[..., None]
            glow[(*window, kind)] += opaque * level
            cover[(*window, kind)] += opaque
    direct = np.zeros((height, width, len(pigments), 5), np.float32)
    direct[..., 4] = glow
    soft = gaussian_filter(glow, (scale * 0.03, scale * 0.03, 0))
    layers = Layers(
        direct=direct,
        gloss=np.zeros((height, width, 5), np.float32),
        bounce=0.05 * soft,
        cover=cover,
        depth=np.full((height, width), 3.0, np.float32),
    )
    return layers, pigments


def _disc(x: Field, y: Field, radius: float, blades: int, turn: float, place: tuple[float, float]) -> Field:
    """Return how much of each place is in the lens's opening, 0–1: round or bladed, cut by the barrel near corners."""
    distance = np.hypot(x, y)
    if blades:
        sector = 2 * math.pi / blades
        angle = (np.arctan2(y, x) + turn) % sector - sector / 2
        distance = 0.45 * distance + 0.55 * distance * np.cos(angle) / math.cos(sector / 4)
    inside = (0.5 + (radius - distance) / 1.6).clip(0, 1)
    barrel = np.hypot(x + place[0] * radius * 0.55, y + place[1] * radius * 0.55)
    cut: Field = inside * (0.5 + (radius * 1.08 - barrel) / 2.5).clip(0, 1)
    return cut


def _edge(x: Field, y: Field, radius: float) -> Field:
    """Return 0 in the middle of a disc, rising to 1 at its rim."""
    part: Field = (np.hypot(x, y) / radius).clip(0, 1) ** 6
    return part
