"""Shards of rendered pictures: the training set, made on this machine and kept between runs.

A shard is a pure function of its number, so several processes fill one folder and an interrupted run goes on where it
stopped.
"""

from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.aspect_ratios import RATIOS, size_of
from pipelines.studio_tiny.renderer import random_spec, render
from pipelines.studio_tiny.vocabulary import phrase

#: Pictures in a shard; all of one size.
SHARD = 32
#: Width and height are multiples of this: the autoencoder's factor.
MULTIPLE = 32
#: Part of the shards that are square; the others are of a ratio drawn evenly from the rest.
SQUARE = 0.6


class Shard(msgspec.Struct, frozen=True):
    #: (SHARD, height, width, 3); read from the disk where it is touched.
    pixels: NDArray[np.uint8]
    prompts: list[str]


def write_shard(folder: Path, number: int, seed: int) -> Path:
    """Render shard `number` of the set with this seed, unless it is there already."""
    path = folder / f"shard-{seed}-{number:06}.npy"
    if path.exists():
        return path
    rng = np.random.default_rng((seed, number))
    ratio = "1:1" if rng.random() < SQUARE else str(rng.choice([ratio for ratio in RATIOS if ratio != "1:1"]))
    width, height = size_of("0.5K", ratio, MULTIPLE)
    specs = [random_spec(rng) for _ in range(SHARD)]
    # The scene and the mood go by the word, as at inference.
    prompts = [phrase(spec.scene, spec.mood, spec.colors).prompt for spec in specs]
    pixels = np.stack([render(spec, width, height, int(rng.integers(2**32))) for spec in specs])
    path.with_suffix(".json").write_bytes(msgspec.json.encode(prompts))
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, pixels)
    partial.replace(path)
    return path


def read_shard(path: Path) -> Shard:
    prompts = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=list[str])
    return Shard(np.load(path, mmap_mode="r"), prompts)


def render_shards(folder: Path, numbers: range, seed: int, workers: int) -> list["Future[Path]"]:
    """Have the shards rendered by `workers` processes; the futures come in the order of the numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = ProcessPoolExecutor(workers)
    futures = [pool.submit(write_shard, folder, number, seed) for number in numbers]
    pool.shutdown(wait=False)
    return futures
