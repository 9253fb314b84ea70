"""The development of layers of light into a picture: the colours of pigments are chosen, lamps mixed, and the mood applied.

A requested colour is met exactly: the region that takes it is exposed so that its evenly lit part, after fog, bloom, vignette
and the film's curve, has that colour. Its shading falls off around it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from pipelines.colors import Rgb
from pipelines.studio_tiny.render import colour
from pipelines.studio_tiny.render.layers import Layers
from pipelines.studio_tiny.render.moods import MOODS, Mood
from pipelines.studio_tiny.render.sets import Pigment

#: The least part of the picture that a requested colour should take.
SHARE = 0.08
#: Light counts as even if its natural logarithm differs by at most this from the middle.
_EVEN = 0.07
_SOLVE_SIDE = 128
_ROUNDS = 5


class NoRoom(Exception):
    """The set has too few large regions for the requested colours."""


class _Mix(msgspec.Struct, frozen=True):
    """The layers once a mood has set the lamps. The colours are not chosen yet."""

    #: The light from each pigment if it were white (height, width, pigments, 3). Tones are darkened already.
    light: NDArray[Any]
    #: The light that reflections of the lamps add (height, width, 3).
    gloss: NDArray[Any]
    bounce: NDArray[Any]
    cover: NDArray[Any]
    #: The part of the light that the air lets through (height, width).
    clear: NDArray[Any]
    vignette: NDArray[Any]
    #: The part of each pixel that has a requested colour (height, width).
    asked: NDArray[Any]
    #: The colour of the air (height, width, 3). Over a requested colour it is that colour, so mist cannot wash it out.
    air: NDArray[Any]


def own_regions(layers: Layers, pigments: Sequence[Pigment]) -> list[tuple[int, float]]:
    """Return the pigments with their own colour, and the part of the picture each takes with its tones, largest first."""
    area = layers.cover.mean((0, 1))
    heads = [index for index, pigment in enumerate(pigments) if pigment.of < 0]
    parts = [(head, sum(float(area[index]) for index in _members(pigments, head))) for head in heads]
    return sorted(parts, key=lambda part: -part[1])


def room(layers: Layers, pigments: Sequence[Pigment]) -> int:
    """Return how many requested colours the set has room for."""
    return sum(part >= SHARE * 1.15 for _, part in own_regions(layers, pigments))


def develop(
    layers: Layers, pigments: Sequence[Pigment], mood_name: str, colors: Sequence[Rgb], seed: int
) -> NDArray[np.uint8]:
    """Return the picture (height, width, 3). The first colour takes the largest region, the second the next, and so on.

    Raises NoRoom.
    """
    rng = np.random.default_rng(seed)
    mood = MOODS[mood_name]
    regions = own_regions(layers, pigments)
    if room(layers, pigments) < len(colors):
        raise NoRoom(f"{len(colors)} colours, {room(layers, pigments)} regions")
    asked = {regions[index][0]: colour.to_linear(np.array(color) / 255) for index, color in enumerate(colors)}
    albedo = _natural(pigments, mood, asked, rng)
    draft_layers = _shrunk(layers, max(1, min(layers.depth.shape) // _SOLVE_SIDE))
    jitter = rng.uniform(0.85, 1.15, 4)
    draft = _mix(draft_layers, pigments, mood, jitter, {}, asked)
    marks: dict[int, _Mark] = {}
    for head, _ in regions:
        mark = _even_part(draft, pigments, head, head in asked, mood)
        if mark is not None:
            marks[head] = mark
    draft = _mix(draft_layers, pigments, mood, jitter, marks, asked)
    albedo = _solve(draft, pigments, mood, marks, albedo, asked)
    full = _mix(layers, pigments, mood, jitter, marks, asked)
    shown = colour.to_srgb(_expose(full, mood, albedo))
    shown = shown + rng.standard_normal(shown.shape[:2])[..., None] * mood.grain
    return (shown.clip(0, 1) * 255).round().astype(np.uint8)


# ── colours ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _members(pigments: Sequence[Pigment], head: int) -> list[int]:
    """Return a pigment with its own colour, and its tones."""
    return [index for index, pigment in enumerate(pigments) if head in (index, pigment.of)]


def _natural(pigments: Sequence[Pigment], mood: Mood, asked: dict[int, Any], rng: np.random.Generator) -> NDArray[Any]:
    """Return a linear colour for every pigment (n, 3). Those that were not requested suit the requested ones and the mood."""
    albedo = np.zeros((len(pigments), 3))
    theme = np.mean([colour.to_oklab(color) for color in asked.values()], axis=0) if asked else None
    for index, pigment in enumerate(pigments):
        if pigment.of >= 0:
            continue
        lab = colour.to_oklab(colour.hex_linear(str(rng.choice(pigment.natural)) if pigment.natural else "#d8d4ce"))
        lab = lab + rng.normal(0, [0.025, 0.006, 0.006])
        if theme is not None:
            # Other colours lean toward the requested hue, as a stylist would choose them.
            part = rng.uniform(0.15, 0.55)
            lab[1:] = lab[1:] * (1 - part) + theme[1:] * part * rng.uniform(0.3, 0.9)
            if rng.random() < 0.3:
                lab[0] = lab[0] * 0.6 + theme[0] * 0.4
        lab[0] = lab[0] * mood.light + mood.lift
        lab[1:] = lab[1:] * mood.chroma + np.array(mood.pull) * (0.4 + lab[0])
        albedo[index] = colour.from_oklab(lab).clip(0.002, 0.88)
    for index, color in asked.items():
        albedo[index] = colour.unbend(color)
    for index, pigment in enumerate(pigments):
        if pigment.of >= 0:
            albedo[index] = albedo[pigment.of]
    return albedo


# ── light ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _shrunk(layers: Layers, factor: int) -> Layers:
    """Return the layers averaged over squares of `factor` pixels."""
    if factor == 1:
        return layers

    def small(field: NDArray[Any]) -> NDArray[Any]:
        height, width = field.shape[0] // factor * factor, field.shape[1] // factor * factor
        shape = (height // factor, factor, width // factor, factor, *field.shape[2:])
        averaged: NDArray[Any] = field[:height, :width].astype(np.float32).reshape(shape).mean((1, 3))
        return averaged

    fields = ("direct", "gloss", "bounce", "cover", "depth")
    return msgspec.structs.replace(layers, **{name: small(getattr(layers, name)) for name in fields})


class _Mark(msgspec.Struct, frozen=True):
    """The usual light of a region, and its contrast."""

    usual: float
    contrast: float
    #: Whether each pixel of the draft (height, width) is a part of the region under its usual light.
    pixels: NDArray[Any]


def _mix(
    layers: Layers,
    pigments: Sequence[Pigment],
    mood: Mood,
    jitter: NDArray[Any],
    marks: dict[int, _Mark],
    asked: dict[int, Any],
) -> _Mix:
    """Return the layers with the lamps set by the mood, and the light of regions with `marks` bent around their usual one."""
    soft, sun = mood.soft * jitter[0], mood.sun * jitter[1]
    strengths = np.array([soft, sun, mood.dome * jitter[2], mood.accent * jitter[3], 1.0])
    if layers.gobo:
        strengths[1] = max(strengths[1], 0.75)
        strengths[0] *= 0.30
        strengths[2] *= 0.75
    lamps = np.array([mood.key, mood.key, mood.fill, mood.side, (1, 1, 1)]) * strengths[:, None]
    light = layers.direct.astype(np.float32) @ lamps.astype(np.float32)
    # Light that has bounced at least twice comes evenly from everywhere.
    light += layers.cover[..., None] * (0.06 * strengths[2] + 0.02) * np.array(mood.fill, np.float32)
    tones = np.array([pigment.tone for pigment in pigments], np.float32)
    light *= tones[:, None]
    for head, mark in marks.items():
        members = _members(pigments, head)
        brightness = _brightness(light, layers.cover, members) / mark.usual
        bent = np.maximum(brightness, 1e-3) ** (mark.contrast - 1)
        light[:, :, members] *= (bent / mark.usual)[..., None, None]
    gloss = (layers.gloss.astype(np.float32) @ lamps.astype(np.float32)) * 0.6
    bounce = layers.bounce.astype(np.float32) * (strengths[0] + strengths[1] * 0.6 + strengths[2] * 0.4)
    usual = float(np.median([mark.usual for mark in marks.values()])) if marks else 1.0
    height, width = layers.depth.shape
    cover = layers.cover.astype(np.float32)
    held = np.zeros((height, width), np.float32)
    air = np.zeros((height, width, 3), np.float32)
    for head, color in asked.items():
        part = cover[:, :, _members(pigments, head)].sum(2)
        held += part
        air += part[..., None] * colour.unbend(color).astype(np.float32)
    air += (1 - held.clip(0, 1))[..., None] * np.array(mood.air, np.float32) * 0.82
    y, x = np.mgrid[0:height, 0:width]
    radius = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) / 0.5
    return _Mix(
        light,
        gloss / usual,
        bounce / usual,
        cover,
        np.exp(np.log(1 - min(mood.fog, 0.99)) * np.maximum(layers.depth.astype(np.float32).clip(0, 9) - 1.5, 0) / 3),
        (1 - mood.vignette * radius).astype(np.float32),
        held.clip(0, 1),
        air,
    )


def _brightness(light: NDArray[Any], cover: NDArray[Any], members: list[int]) -> NDArray[Any]:
    """Return the brightness of a region's light (height, width)."""
    total = light[:, :, members].sum(2) @ colour.LUMA.astype(np.float32)
    parts: NDArray[Any] = total / np.maximum(cover[:, :, members].sum(2), 1e-3)
    return parts


def _even_part(mix: _Mix, pigments: Sequence[Pigment], head: int, asked: bool, mood: Mood) -> _Mark | None:
    """Return the mark of the light under which most of a region is; None if the region is too small.

    A requested region is flattened until enough of it is under that light.
    """
    members = _members(pigments, head)
    inside = mix.cover[:, :, members].sum(2) > 0.85
    count = int(inside.sum())
    if count < 12:
        inside = mix.cover[:, :, members].sum(2) > 0.2
        count = int(inside.sum())
        if count < 4:
            return None
    brightness = np.maximum(_brightness(mix.light, mix.cover, members), 1e-4)
    logs = np.sort(np.log(brightness[inside]))
    enough = min(0.75 * count, SHARE * 1.4 * inside.size)
    contrast = mood.contrast
    while True:
        half = _EVEN / contrast
        ends = np.searchsorted(logs, logs + 2 * half)
        # If two lights have equally many pixels, people see the colour under the brighter one.
        sizes = (ends - np.arange(len(logs))) * np.exp(0.25 * (logs - logs[-1]))
        best = int(np.argmax(sizes))
        held = int(ends[best]) - best
        if not asked or held >= enough or contrast < 0.22:
            break
        contrast *= 0.82
    middle = float(logs[best : ends[best]].mean())
    if not asked:
        # Nobody measures the other regions, but their bright sides should keep their shape.
        middle = max(middle, float(np.quantile(logs, 0.85)))
    pixels = inside & (np.abs(np.log(brightness) - middle) <= half * 1.02)
    return _Mark(float(np.exp(middle)), contrast, pixels)


def _expose(mix: _Mix, mood: Mood, albedo: NDArray[Any]) -> NDArray[Any]:
    """Return the displayed picture in linear light (height, width, 3)."""
    colors = albedo.astype(np.float32)
    picture = np.einsum("hwpc,pc->hwc", mix.light, colors, optimize=True)
    paint = mix.cover @ colors
    picture += 0.55 * paint * (mix.bounce @ np.minimum(colors, 1.0))
    picture += mix.gloss
    picture *= mood.exposure
    clear = mix.clear[..., None]
    picture = picture * clear + mix.air * (1 - clear)
    if mood.bloom > 0:
        size = min(picture.shape[:2]) * 0.025
        near = gaussian_filter(picture.clip(0, 1.6), (size, size, 0))
        wide = gaussian_filter(near, (3 * size, 3 * size, 0))
        part = (mood.bloom * (1 - 0.75 * mix.asked))[..., None]
        picture = picture * (1 - part) + (0.6 * near + 0.4 * wide) * part
    picture *= mix.vignette[..., None]
    # Old film shows no black. Over a requested colour it fades toward that colour.
    faded = np.where(mix.asked[..., None] > 0.5, mix.air, 1.0)
    shown: NDArray[Any] = colour.shoulder(picture * (1 - mood.fade) + faded * mood.fade)
    return shown


def _solve(
    mix: _Mix,
    pigments: Sequence[Pigment],
    mood: Mood,
    marks: dict[int, _Mark],
    albedo: NDArray[Any],
    asked: dict[int, Any],
) -> NDArray[Any]:
    """Return the albedos, adjusted so that the evenly lit parts of requested regions are shown in the requested colours."""
    for _ in range(_ROUNDS if asked else 0):
        shown = _expose(mix, mood, albedo)
        for head, color in asked.items():
            seen = colour.unbend(shown[marks[head].pixels].mean(0))
            wanted = colour.unbend(np.maximum(color, 2e-4))
            factor = ((wanted + 1e-4) / (seen + 1e-4)).clip(0.2, 5)
            for index in _members(pigments, head):
                albedo[index] = (albedo[index] * factor).clip(1e-5, 30)
    return albedo
