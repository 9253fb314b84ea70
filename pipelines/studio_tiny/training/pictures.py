"""The training pictures: each set is traced once, developed in many moods and colours, and kept as a shard on disk."""

import colorsys
import io
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.aspect_ratios import RATIOS, size_of
from pipelines.colors import Rgb
from pipelines.studio_tiny.render import bokeh, scenes, tracer
from pipelines.studio_tiny.render.develop import develop, room
from pipelines.studio_tiny.render.layers import Layers
from pipelines.studio_tiny.render.sets import Pigment
from pipelines.studio_tiny.vocabulary import COLORS, MOODS, SCENES, prompt

#: How many pictures are developed from a set by default.
PICTURES = 24
SAMPLES = 16
#: The part of the sets that is square.
SQUARE = 0.5
#: Sides are multiples of this at the full size.
MULTIPLE = 64


class Shard(msgspec.Struct, frozen=True):
    """The pictures of one set."""

    prompts: list[str]
    #: JPEG files of one size, at a quality that keeps colours.
    files: list[bytes]

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Return one picture (height, width, 3)."""
        return np.asarray(Image.open(io.BytesIO(self.files[index])))

    def stacked(self) -> NDArray[np.uint8]:
        """Return all pictures (count, height, width, 3)."""
        return np.stack([self.pixels(index) for index in range(len(self.files))])


def write_shard(folder: Path, number: int, seed: int, shrink: int, pictures: int = PICTURES) -> Path:
    """Trace set `number`, and write pictures of about (512 / `shrink`)² pixels of it, unless they are there; return the file.

    A number stands for one set, whatever its size.
    """
    path = folder / f"{number:06}.shard"
    if path.exists():
        return path
    rng = np.random.default_rng((seed, number))
    # Every scene comes equally often.
    scene = list(SCENES)[number % len(SCENES)]
    ratio = "1:1" if rng.random() < SQUARE else str(rng.choice([ratio for ratio in RATIOS if ratio != "1:1"]))
    width, height = (side // shrink for side in size_of("0.5K", ratio, MULTIPLE))
    wanted = int(rng.choice(COLORS, p=[0.25, 0.25, 0.22, 0.15, 0.13])) + 1
    layers, pigments = photograph(scene, width, height, wanted, int(rng.integers(2**31)), SAMPLES)
    most = min(COLORS, room(layers, pigments))
    prompts, files = [], []
    for _ in range(pictures):
        mood = str(rng.choice(list(MOODS)))
        count = min(most, int(rng.choice(COLORS + 1, p=[0.08, 0.28, 0.26, 0.18, 0.10, 0.10])))
        colors = [random_color(rng) for _ in range(count)]
        pixels = develop(layers, pigments, mood, colors, int(rng.integers(2**31)))
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=97, subsampling=0)
        prompts.append(prompt(scene, mood, colors))
        files.append(buffer.getvalue())
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(msgspec.msgpack.encode(Shard(prompts, files)))
    partial.replace(path)
    return path


def photograph(
    scene: str, width: int, height: int, colors: int, seed: int, samples: int
) -> tuple[Layers, list[Pigment]]:
    """Return the layers and the pigments of a scene's set, with room for `colors` colours if the scene allows it."""
    if scene == bokeh.BOKEH:
        return bokeh.lights(width, height, colors, seed)
    built = scenes.build(scene, width, height, colors, seed)
    return tracer.trace(built, samples), built.pigments


def render(scene: str, mood: str, colors: Sequence[Rgb], width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """Return one picture (height, width, 3). If a set has too little room for the colours, another seed's set is used."""
    while True:
        layers, pigments = photograph(scene, width, height, max(1, len(colors)), seed, SAMPLES)
        if room(layers, pigments) >= len(colors):
            return develop(layers, pigments, mood, colors, seed)
        seed += 1000


def read_shard(path: Path) -> Shard:
    return msgspec.msgpack.decode(path.read_bytes(), type=Shard)


def random_color(rng: np.random.Generator) -> Rgb:
    """Return a random colour. Strong ones, pastels, dark ones and greys all occur."""
    if rng.random() < 0.3:
        red, green, blue = (int(channel) for channel in rng.integers(0, 256, 3))
        return red, green, blue
    saturation = float(rng.choice([rng.uniform(0, 0.15), rng.uniform(0.15, 0.5), rng.uniform(0.5, 1)]))
    channels = colorsys.hsv_to_rgb(float(rng.random()), saturation, float(rng.uniform(0.12, 1)))
    return round(channels[0] * 255), round(channels[1] * 255), round(channels[2] * 255)
