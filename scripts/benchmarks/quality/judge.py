"""A small network that names the scene and the mood of a picture; trained on renders, once."""

from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from benchmarks.quality.renders import taught
from pipelines.output.png import Pixels
from pipelines.studio_tiny.training.checkpoint import Checkpoint
from pipelines.studio_tiny.training.device import pace
from pipelines.studio_tiny.training.vocabulary import MOODS, SCENES

#: Sets that it learns from, sixteen pictures each.
SETS = 1560
STEPS = 4000
_BATCH, _LR = 64, 2e-3
_WIDTHS = (32, 64, 96, 128)
_FEATURES = 64


class Verdict(msgspec.Struct, frozen=True):
    scenes: list[str]
    moods: list[str]
    #: (n, 64)
    features: NDArray[np.float32]


class Judge(torch.nn.Module):  # type: ignore[misc]
    """Pictures (n, 3, 128, 128), -1 … 1, to features, and to the scores of scenes and moods."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = []
        for coming, going in zip((3, *_WIDTHS), _WIDTHS, strict=False):
            layers += [
                torch.nn.Conv2d(coming, going, 3, stride=2, padding=1),
                torch.nn.GroupNorm(8, going),
                torch.nn.SiLU(),
                torch.nn.Conv2d(going, going, 3, padding=1),
                torch.nn.GroupNorm(8, going),
                torch.nn.SiLU(),
            ]
        self.body = torch.nn.Sequential(*layers)
        # Group norms take absolute colours away; moods need them, so their means and deviations go past.
        self.neck = torch.nn.Linear(2 * _WIDTHS[-1] + 6, _FEATURES)
        self.scene = torch.nn.Linear(_FEATURES, len(SCENES))
        self.mood = torch.nn.Linear(_FEATURES, len(MOODS))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inner = self.body(pixels)
        told = [inner.mean((2, 3)), inner.amax((2, 3)), pixels.mean((2, 3)), pixels.std((2, 3))]
        features = functional.silu(self.neck(torch.cat(told, dim=1)))
        return features, self.scene(features), self.mood(features)


def trained(work: Path, workers: int, sets: int = SETS, steps: int = STEPS) -> Judge:
    """Return the judge that is kept in `work`; what it has not learnt yet, it learns from the training's first sets."""
    torch.manual_seed(0)
    judge = Judge()
    optimizer = torch.optim.AdamW(judge.parameters(), _LR, weight_decay=0.02)
    checkpoint = Checkpoint(work / f"judge-{sets}-{steps}.pt", judge=judge, optimizer=optimizer)
    start = checkpoint.restore()
    if start < steps:
        pictures, scenes, moods = taught(work / "taught", sets, workers)
        wanted = torch.tensor([_numbers(scene, mood) for scene, mood in zip(scenes, moods, strict=True)])
        _teach(judge, optimizer, checkpoint, pictures, wanted, range(start, steps))
    judge.eval()
    return judge


def _numbers(scene: str, mood: str) -> tuple[int, int]:
    return list(SCENES).index(scene), list(MOODS).index(mood)


def _teach(
    judge: Judge,
    optimizer: torch.optim.Optimizer,
    checkpoint: Checkpoint,
    pictures: Pixels,
    wanted: Tensor,
    lessons: range,
) -> None:
    """Run the lessons; `wanted` (n, 2) has the numbers of the pictures' scenes and moods."""
    rng = np.random.default_rng((0, lessons.start))
    done = lessons.start
    try:
        for step in tqdm(lessons, desc="judge", initial=lessons.start, total=lessons.stop, mininterval=10):
            for group in optimizer.param_groups:
                group["lr"] = _LR * pace(step, lessons.stop, warm=50, cool=0.7)
            picked = rng.integers(len(pictures), size=_BATCH)
            with torch.autocast("cpu", torch.bfloat16):
                _, scene, mood = judge(_blurred(_tensor(pictures[picked]), rng))
            loss = functional.cross_entropy(scene.float(), wanted[picked, 0])
            loss = loss + functional.cross_entropy(mood.float(), wanted[picked, 1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done = step + 1
    finally:
        # Someone who stops it does not lose what it learnt.
        checkpoint.now(done)


def verdict(judge: Judge, pictures: Pixels) -> Verdict:
    """Judge pictures (n, 128, 128, 3)."""
    scenes: list[str] = []
    moods: list[str] = []
    features = []
    for start in range(0, len(pictures), _BATCH):
        with torch.no_grad():
            seen, scene, mood = judge(_tensor(pictures[start : start + _BATCH]))
        features.append(seen.numpy())
        scenes += [list(SCENES)[index] for index in scene.argmax(1).tolist()]
        moods += [list(MOODS)[index] for index in mood.argmax(1).tolist()]
    return Verdict(scenes, moods, np.concatenate(features))


def _tensor(pictures: Pixels) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def _blurred(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirror half of the batches and blur half, so that a picture is not told by its grain."""
    if rng.random() < 0.5:
        pixels = pixels.flip(3)
    if rng.random() < 0.5:
        size = int(rng.integers(56, 120))
        less = functional.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
        pixels = functional.interpolate(less, size=pixels.shape[2:], mode="bilinear")
    return pixels
