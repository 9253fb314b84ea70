"""A small network that names the scene and the mood of a picture by its descriptors; trained on renders, once."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from benchmarks.quality.descriptors import describe, worn
from benchmarks.quality.renders import SIDE, taught
from pipelines.output.png import Pixels
from pipelines.studio_tiny.training.learner import pace
from pipelines.studio_tiny.vocabulary import MOODS, SCENES

#: Sets that it learns from, sixteen pictures each.
SETS = 520
STEPS = 2500
_BATCH, _LR = 256, 2e-3
_DESCRIPTORS, _FEATURES = 444, 64


class Verdict(msgspec.Struct, frozen=True):
    scenes: list[str]
    moods: list[str]
    #: (n, 64)
    features: NDArray[np.float32]


class Judge(torch.nn.Module):  # type: ignore[misc]
    """Descriptors (n, 444) to features, and to the scores of scenes and moods."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(_DESCRIPTORS))
        self.register_buffer("deviation", torch.ones(_DESCRIPTORS))
        self.body = torch.nn.Sequential(
            torch.nn.Linear(_DESCRIPTORS, 256),
            torch.nn.SiLU(),
            torch.nn.Dropout(0.4),
            torch.nn.Linear(256, _FEATURES),
            torch.nn.SiLU(),
        )
        self.scene = torch.nn.Linear(_FEATURES, len(SCENES))
        self.mood = torch.nn.Linear(_FEATURES, len(MOODS))

    def forward(self, descriptors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        even = ((descriptors - self.mean) / self.deviation).clamp(-4, 4)
        if self.training:
            even = even + 0.1 * torch.randn_like(even)
        features = self.body(even)
        return features, self.scene(features), self.mood(features)


def trained(work: Path, workers: int, sets: int = SETS, steps: int = STEPS) -> Judge:
    """Return the judge that is kept in `work`, or train it on the renders of the training's first sets."""
    path = work / f"judge-{sets}-{steps}.pt"
    torch.manual_seed(0)
    judge = Judge()
    if path.exists():
        judge.load_state_dict(torch.load(path))
        judge.eval()
        return judge
    pictures, scenes, moods = taught(work / "taught", sets, workers)
    with ProcessPoolExecutor(workers) as pool:
        described = list(
            tqdm(
                pool.map(_described, pictures, range(len(pictures)), chunksize=64), desc="describe", total=len(pictures)
            )
        )
    _teach(judge, torch.from_numpy(np.stack(described)), torch.tensor(_numbers(scenes, moods)), steps)
    torch.save(judge.state_dict(), path)
    judge.eval()
    return judge


def verdict(judge: Judge, pictures: Pixels) -> Verdict:
    """Judge pictures (n, SIDE, SIDE, 3)."""
    with torch.no_grad():
        features, scene, mood = judge(torch.from_numpy(np.stack([describe(pixels) for pixels in pictures])))
    return Verdict(
        [list(SCENES)[index] for index in scene.argmax(1).tolist()],
        [list(MOODS)[index] for index in mood.argmax(1).tolist()],
        features.numpy(),
    )


def _described(pixels: Pixels, number: int) -> NDArray[np.float32]:
    """Return the descriptors (2, 444) of a picture and of a worn copy, so that a scene is not told by its grain."""
    side = int(np.random.default_rng(number).integers(SIDE * 4 // 9, SIDE))
    return np.stack([describe(pixels), describe(worn(pixels, side))])


def _numbers(scenes: list[str], moods: list[str]) -> list[tuple[int, int]]:
    return [(list(SCENES).index(scene), list(MOODS).index(mood)) for scene, mood in zip(scenes, moods, strict=True)]


def _teach(judge: Judge, described: Tensor, wanted: Tensor, steps: int) -> None:
    """Teach with descriptors (n, 2, 444); `wanted` (n, 2) has the numbers of the pictures' scenes and moods."""
    judge.mean.copy_(described.mean((0, 1)))
    judge.deviation.copy_(described.flatten(0, 1).std(0) + 1e-3)
    optimizer = torch.optim.AdamW(judge.parameters(), _LR, weight_decay=0.1)
    for step in tqdm(range(steps), desc="judge", mininterval=10):
        for group in optimizer.param_groups:
            group["lr"] = _LR * pace(step / steps, step, warm=50, cool=0.7)
        picked = torch.randint(len(described), (_BATCH,))
        _, scene, mood = judge(described[picked, torch.randint(2, (_BATCH,))])
        loss = functional.cross_entropy(scene, wanted[picked, 0], label_smoothing=0.05)
        loss = loss + functional.cross_entropy(mood, wanted[picked, 1], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
