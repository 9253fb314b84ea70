"""The moods: each mixes the lamps, sets contrast, air and film, and changes the colours that were not requested."""

import msgspec

Rgb = tuple[float, float, float]
_WHITE: Rgb = (1.0, 1.0, 1.0)


class Mood(msgspec.Struct, frozen=True, kw_only=True):
    #: The strengths of the lamps.
    soft: float = 1.0
    sun: float = 0.0
    dome: float = 0.45
    accent: float = 0.12
    #: The lamps' linear colours: of the soft box and the sun, of the dome, and of the accent.
    key: Rgb = _WHITE
    fill: Rgb = _WHITE
    side: Rgb = _WHITE
    #: The exponent of light relative to a region's usual light: above 1 harder, below 1 flatter.
    contrast: float = 1.0
    #: The factor of the whole picture's light.
    exposure: float = 1.0
    #: How colours that were not requested change in OKLab: lightness × `light` + `lift`, chroma × `chroma`, (a, b) + `pull`.
    light: float = 1.0
    lift: float = 0.0
    chroma: float = 1.0
    pull: tuple[float, float] = (0.0, 0.0)
    #: The part of the light that 3 m of air take, and the air's own colour.
    fog: float = 0.0
    air: Rgb = _WHITE
    #: The part of the light that spreads around bright places.
    bloom: float = 0.04
    vignette: float = 0.08
    #: The deviation of the film's grain, as a part of white.
    grain: float = 0.003
    #: The least light that the film shows.
    fade: float = 0.0


MOODS: dict[str, Mood] = {
    "neutral": Mood(exposure=1.06),
    "bright": Mood(
        soft=0.75,
        dome=0.9,
        accent=0.1,
        contrast=0.8,
        exposure=1.12,
        light=0.55,
        lift=0.47,
        chroma=0.8,
        bloom=0.10,
        vignette=0.0,
    ),
    "dark": Mood(
        soft=0.8, dome=0.08, accent=0.25, contrast=1.25, exposure=0.9, light=0.52, chroma=0.8, vignette=0.5, bloom=0.02
    ),
    "warm": Mood(
        key=(1.0, 0.88, 0.70),
        fill=(1.0, 0.90, 0.78),
        side=(1.0, 0.62, 0.30),
        dome=0.3,
        accent=0.6,
        pull=(0.010, 0.020),
        chroma=1.05,
        bloom=0.10,
        vignette=0.18,
    ),
    "cool": Mood(
        key=(0.84, 0.93, 1.0),
        fill=(0.74, 0.88, 1.0),
        side=(0.40, 0.70, 1.0),
        dome=0.65,
        accent=0.55,
        contrast=1.1,
        pull=(-0.008, -0.018),
        chroma=0.85,
        fog=0.10,
        air=(0.80, 0.91, 1.0),
        bloom=0.02,
        vignette=0.0,
    ),
    "dramatic": Mood(
        soft=0.12, sun=1.1, dome=0.07, accent=0.35, contrast=1.2, exposure=0.95, light=0.78, vignette=0.4, chroma=1.05
    ),
    "soft": Mood(
        soft=0.55,
        dome=0.9,
        accent=0.05,
        contrast=0.55,
        light=0.60,
        lift=0.36,
        chroma=0.75,
        fog=0.12,
        air=(1.0, 0.95, 0.94),
        bloom=0.32,
        vignette=0.0,
        pull=(0.006, 0.004),
    ),
    "vivid": Mood(
        soft=0.45, sun=0.75, dome=0.55, accent=0.15, contrast=1.2, chroma=2.4, light=0.93, bloom=0.0, vignette=0.0
    ),
    "golden": Mood(
        soft=0.10,
        sun=1.0,
        dome=0.30,
        key=(1.0, 0.78, 0.48),
        fill=(0.84, 0.86, 1.0),
        side=(1.0, 0.65, 0.35),
        accent=0.2,
        contrast=1.05,
        pull=(0.014, 0.026),
        chroma=1.05,
        bloom=0.14,
        vignette=0.12,
    ),
    "misty": Mood(
        soft=0.35,
        dome=1.0,
        accent=0.0,
        contrast=0.6,
        light=0.7,
        lift=0.22,
        chroma=0.45,
        fog=0.55,
        air=(0.80, 0.85, 0.88),
        bloom=0.20,
        vignette=0.0,
        fill=(0.92, 0.97, 1.0),
        pull=(-0.006, -0.008),
    ),
    "elegant": Mood(
        soft=0.55,
        sun=0.1,
        dome=0.12,
        accent=0.65,
        side=(1.0, 0.74, 0.42),
        key=(1.0, 0.93, 0.84),
        contrast=1.15,
        exposure=0.9,
        light=0.46,
        chroma=0.65,
        vignette=0.3,
        bloom=0.08,
        pull=(0.004, 0.010),
    ),
    "neon": Mood(
        soft=0.7,
        dome=0.16,
        accent=1.0,
        key=(0.15, 0.62, 1.0),
        fill=(0.32, 0.18, 0.75),
        side=(1.0, 0.10, 0.62),
        contrast=1.1,
        exposure=0.9,
        light=0.72,
        chroma=0.8,
        vignette=0.25,
        bloom=0.20,
    ),
    "vintage": Mood(
        soft=0.9,
        dome=0.4,
        key=(1.0, 0.90, 0.72),
        fill=(0.90, 0.95, 0.86),
        contrast=0.85,
        light=0.82,
        lift=0.06,
        chroma=0.62,
        pull=(0.006, 0.022),
        vignette=0.28,
        grain=0.009,
        fade=0.045,
        bloom=0.08,
    ),
}
