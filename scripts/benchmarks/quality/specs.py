"""Specs that no training has seen, in the words of the model."""

import msgspec
import numpy as np

from pipelines.aspect_ratios import RATIOS, size_of
from pipelines.colors import Rgb
from pipelines.studio_tiny.training.pictures import MULTIPLE, SQUARE, random_color
from pipelines.studio_tiny.vocabulary import MOODS, SCENES

#: No training may draw its sets from this seed.
SEED = 1
#: Specs ask for 1, 2, … up to this many colours, in turn.
COLORS = 3


class Spec(msgspec.Struct, frozen=True):
    scene: str
    mood: str
    colors: tuple[Rgb, ...]
    #: The full size, in pixels.
    width: int
    height: int
    #: The seed of the image, and of the render of the same spec.
    seed: int


def reseeded(specs: list[Spec], times: int) -> list[Spec]:
    """Return every spec `times` times, each with a seed of its own; those of one spec follow each other."""
    return [msgspec.structs.replace(spec, seed=(spec.seed + turn) % 2**31) for spec in specs for turn in range(times)]


def draw(count: int) -> list[Spec]:
    """Return `count` specs, the same for every call; each scene comes round equally often, and half of them are square."""
    specs = []
    for index in range(count):
        rng = np.random.default_rng((SEED, index))
        ratio = "1:1" if rng.random() < SQUARE else str(rng.choice([ratio for ratio in RATIOS if ratio != "1:1"]))
        width, height = size_of("0.5K", ratio, MULTIPLE)
        mood = str(rng.choice(list(MOODS)))
        colors = tuple(random_color(rng) for _ in range(1 + index % COLORS))
        specs.append(Spec(list(SCENES)[index % len(SCENES)], mood, colors, width, height, int(rng.integers(2**31))))
    return specs
