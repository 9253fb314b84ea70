"""Renders to compare with, made once and kept in a folder."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from benchmarks.quality.specs import Spec
from pipelines.output.png import Pixels
from pipelines.studio_tiny.training.pictures import render, write_shard

#: Side in pixels at which pictures are judged.
SIDE = 128
#: Sets of the training are rendered at 1/this of the full size.
_TAUGHT_SHRINK = 4


def held_out(folder: Path, specs: list[Spec], shrink: int, cores: int) -> list[Pixels]:
    """Return a render of each spec at 1/`shrink` of its size."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(path, spec, shrink) for path, spec in zip(paths(folder, specs), specs, strict=True)]
    return [read(path) for path in _made(_render, tasks, cores, f"renders 1/{shrink}")]


def taught(folder: Path, sets: int, cores: int, seed: int = 0) -> list[Path]:
    """Return shards of small renders of the first `sets` sets of a training's seed. Missing ones are made."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(folder, number, seed, _TAUGHT_SHRINK) for number in range(sets)]
    return list(_made(write_shard, tasks, cores, "renders to learn from"))


def paths(folder: Path, specs: list[Spec]) -> list[Path]:
    return [folder / f"{index:04}-{spec.scene}-{spec.mood}.png" for index, spec in enumerate(specs)]


def small(pixels: Pixels) -> Pixels:
    """Return the whole picture squeezed into a square (SIDE, SIDE, 3): its corners belong to its mood."""
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))


def read(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"))


def keep(path: Path, pixels: NDArray[np.uint8]) -> Path:
    """Write a picture, whole or not at all."""
    partial = path.with_suffix(".partial")
    Image.fromarray(pixels).save(partial, "PNG", compress_level=1)
    partial.replace(path)
    return path


def _render(path: Path, spec: Spec, shrink: int) -> Path:
    if path.exists():
        return path
    size = spec.width // shrink, spec.height // shrink
    return keep(path, render(spec.scene, spec.mood, spec.colors, *size, spec.seed))


def _made(make: Callable[..., Path], tasks: Sequence[tuple[object, ...]], cores: int, name: str) -> Iterator[Path]:
    # A process that is forked once CUDA is up may crash.
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        yield from tqdm(pool.map(make, *zip(*tasks, strict=True)), desc=name, total=len(tasks), mininterval=10)
