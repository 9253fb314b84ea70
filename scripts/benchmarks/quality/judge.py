"""The judge of images: it learns scenes and moods from renders, once, and is kept. As a command, it learns from shards."""

import argparse
import math
import os
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality import lessons
from benchmarks.quality.network import Judge
from benchmarks.quality.renders import taught
from benchmarks.quality.specs import Spec
from pipelines.output.png import Pixels
from pipelines.studio_tiny.vocabulary import COLORS, MOODS, SCENES

#: If no judge is kept, a new one learns from this many sets, in this many steps of this many pictures.
SETS, LESSONS, BATCH = 520, 2500, 256
#: The file of the judge that is kept in a work folder.
KEPT = "judge.pt"


class Verdict(msgspec.Struct, frozen=True):
    scenes: list[str]
    moods: list[str]
    #: (n, 64)
    features: NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.quality.judge", description=__doc__)
    parser.add_argument("--shards", type=Path, required=True, metavar="FOLDER", help="of the training's pictures")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=f"{KEPT} in the --work of the benchmark"
    )
    parser.add_argument("--minutes", type=float, default=math.inf, help="of learning, if the steps last longer")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="that decode pictures")
    options = parser.parse_args()
    shards = sorted(options.shards.glob("*.shard"))
    if not shards:
        parser.error(f"{options.shards} has no *.shard file; name the training's folder of pictures, like pictures-2")
    learnt(shards, options.out, options.threads, options.batch, options.steps, options.minutes)


def trained(work: Path, cores: int, sets: int = SETS, lessons: int = LESSONS) -> Judge:
    """Return the judge that is kept in `work`; if there is none, let one learn from renders of the training's first sets."""
    path = work / KEPT
    if not path.exists():
        learnt(taught(work / "taught", sets, cores), path, cores, BATCH, lessons, math.inf)
    judge = Judge()
    judge.load_state_dict(torch.load(path, map_location="cpu"))
    judge.eval()
    return judge


def learnt(shards: list[Path], path: Path, threads: int, batch: int, steps: int, minutes: float) -> None:
    """Let a judge learn from most sets, print how it names the pictures of the others, and keep it in half precision."""
    torch.manual_seed(0)
    judge = Judge()
    known, held = lessons.read(shards, threads).split(lessons.HELD_OUT)
    lessons.teach(judge, known, batch, steps, minutes)
    if len(held.pictures):
        print("\n".join(lessons.report(judge, held)), flush=True)
    partial = path.with_suffix(".partial")
    torch.save({name: value.cpu().half() for name, value in judge.state_dict().items()}, partial)
    partial.replace(path)


def pictures_of(shards: list[Path], threads: int) -> Pixels:
    """Return the pictures (n, SIDE, SIDE, 3) of shards."""
    pictures: Pixels = lessons.read(shards, threads).pictures.permute(0, 2, 3, 1).numpy()
    return pictures


def verdict(judge: Judge, pictures: Pixels, specs: list[Spec]) -> Verdict:
    """Judge pictures (n, SIDE, SIDE, 3). The judge is told the colours of their specs, but not the scenes and moods."""
    colors = torch.full((len(specs), COLORS, 3), -1.0)
    for row, spec in zip(colors, specs, strict=True):
        for place, color in zip(row, spec.colors, strict=False):
            place[:] = torch.tensor(color) / 255
    features, scene, mood = lessons.seen(judge, torch.from_numpy(pictures).permute(0, 3, 1, 2), colors)
    return Verdict(
        [list(SCENES)[index] for index in scene.argmax(1).tolist()],
        [list(MOODS)[index] for index in mood.argmax(1).tolist()],
        features.numpy(),
    )


if __name__ == "__main__":
    main()
