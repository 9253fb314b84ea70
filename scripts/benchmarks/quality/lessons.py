"""The lessons of the judge: small pictures of many sets with their scenes and moods, and how it learns from them."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from benchmarks.quality.network import Judge
from benchmarks.quality.renders import small
from pipelines.studio_tiny.training.device import autocast, device
from pipelines.studio_tiny.training.learner import LOOK, Learner, Progress
from pipelines.studio_tiny.training.pictures import read_shard
from pipelines.studio_tiny.vocabulary import COLORS, LEVELS, MOODS, SCENES

#: The part of the sets that the judge does not learn from, so that it can be measured.
HELD_OUT = 0.15
_LR, _SMOOTHING = 2e-3, 0.05
#: A lesson shows at least this part of a picture's side.
_CROP = 0.85
#: Worn pictures are shrunk to this part of their width at least and enlarged again, and get noise of up to this deviation.
_WORN_SIDE, _WORN_NOISE = 0.45, 0.012
_TOGETHER = 256


class Lessons(msgspec.Struct, frozen=True):
    #: (n, 3, SIDE, SIDE), bytes
    pictures: Tensor
    #: (n, 2): the numbers of a picture's scene and mood.
    wanted: Tensor
    #: (n, 5, 3): the colours that were requested, 0–1; below 0 if fewer were.
    colors: Tensor
    #: (n,): the number of its set.
    sets: Tensor

    def split(self, part: float) -> tuple["Lessons", "Lessons"]:
        """Return all but `part` of the sets, and that part."""
        numbers = self.sets.unique()
        kept = numbers[np.random.default_rng(0).permutation(len(numbers))[: round(part * len(numbers))].tolist()]
        held = torch.isin(self.sets, kept)
        return self._only(~held), self._only(held)

    def to(self, target: torch.device) -> "Lessons":
        return Lessons(*(tensor.to(target) for tensor in msgspec.structs.astuple(self)))

    def _only(self, chosen: Tensor) -> "Lessons":
        return Lessons(*(tensor[chosen] for tensor in msgspec.structs.astuple(self)))


def read(shards: Sequence[Path], threads: int) -> Lessons:
    """Decode the pictures of shards, one set each."""
    with ThreadPoolExecutor(threads) as pool:
        parts = list(tqdm(pool.map(_read, shards, range(len(shards))), desc="pictures", total=len(shards)))
    return Lessons(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def teach(judge: Judge, lessons: Lessons, batch: int, steps: int, minutes: float) -> None:
    """Teach the judge for this many steps or minutes, whichever end first."""
    target = device()
    judge.to(target, memory_format=torch.channels_last).train()
    lessons = lessons.to(target)
    learner = Learner(judge, _LR, ("first.", "scene.", "mood."), target)
    progress = Progress(steps, minutes, 0.0)
    sight = torch.Generator(target).manual_seed(0)
    for step in learner.steps(progress, 0, warm=50, cool=0.7):
        picked = torch.randint(len(lessons.pictures), (batch,), generator=sight, device=target)
        pictures = _varied(lessons.pictures[picked].float() / 255, step, sight)
        with autocast(target):
            _, scene, mood = judge(pictures, lessons.colors[picked])
        wanted = lessons.wanted[picked]
        loss = functional.cross_entropy(scene.float(), wanted[:, 0], label_smoothing=_SMOOTHING)
        loss = loss + functional.cross_entropy(mood.float(), wanted[:, 1], label_smoothing=_SMOOTHING)
        learner.step(loss)
        if (step + 1) % LOOK == 0:
            print(f"judge: step {step + 1}, {progress.seconds:.0f} s, loss {loss.item():.3f}", flush=True)
    judge.eval()


def seen(judge: Judge, pictures: Tensor, colors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the features (n, 64), scene scores and mood scores of pictures (n, 3, height, width) in bytes.

    They are means over each picture and its mirror image.
    """
    target = next(judge.parameters()).device
    parts = []
    with torch.no_grad():
        for some, asked in zip(pictures.split(_TOGETHER), colors.to(target).split(_TOGETHER), strict=True):
            shown = some.to(target).float() / 255
            pairs = zip(judge(shown, asked), judge(shown.flip(3), asked), strict=True)
            parts.append([(one + other).cpu() / 2 for one, other in pairs])
    features, scene, mood = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return features, scene, mood


def report(judge: Judge, lessons: Lessons) -> list[str]:
    """Return lines on how often the judge is right, in all and for each mood, and on what it mistakes for what."""
    _, scene, mood = seen(judge, lessons.pictures, lessons.colors)
    wanted = lessons.wanted.cpu()
    named = [(list(MOODS)[one], list(MOODS)[other]) for one, other in zip(wanted[:, 1], mood.argmax(1), strict=True)]
    asked = Counter(one for one, _ in named)
    lines = [f"{len(wanted)} pictures of {len(lessons.sets.unique())} held-out sets"]
    for name, scores, numbers in (("scene", scene, wanted[:, 0]), ("mood", mood, wanted[:, 1])):
        places = (scores > scores.gather(1, numbers[:, None])).sum(1)
        lines.append(
            f"{name}: {(places == 0).float().mean():.1%}, among the first two {(places < 2).float().mean():.1%}"
        )
    right = Counter(one for one, other in named if one == other)
    lines.append("moods: " + ", ".join(f"{one} {right[one] / asked[one]:.0%}" for one in MOODS if asked[one]))
    shows = [(list(SCENES)[one], list(SCENES)[other]) for one, other in zip(wanted[:, 0], scene.argmax(1), strict=True)]
    for kind, both in (("mood", named), ("scene", shows)):
        wrong = Counter(pair for pair in both if pair[0] != pair[1])
        total = Counter(one for one, _ in both)
        lines += [
            f"{kind} {one} taken for {other}: {count} of {total[one]}" for (one, other), count in wrong.most_common(12)
        ]
    return lines


def _read(shard: Path, number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    found = read_shard(shard)
    pictures = torch.from_numpy(np.stack([small(found.pixels(index)) for index in range(len(found.files))]))
    words = [prompt.split() for prompt in found.prompts]
    wanted = torch.tensor([(list(SCENES).index(scene), list(MOODS).index(mood)) for scene, mood, *_ in words])
    colors = torch.stack([_requested(values) for _, _, *values in words])
    return pictures.permute(0, 3, 1, 2).contiguous(), wanted, colors, torch.full((len(wanted),), number)


def _requested(words: Sequence[str]) -> Tensor:
    """Return the colours (5, 3), 0–1, that words like "r1-53" mean, below 0 for "r1-none"."""
    levels = [word.split("-")[1] for word in words]
    values = [-1.0 if level == "none" else (int(level) + 0.5) / LEVELS for level in levels]
    return torch.tensor(values).view(COLORS, 3)


def _varied(pictures: Tensor, step: int, sight: torch.Generator) -> Tensor:
    """Return a part of each picture, every second one mirrored or behind a grey patch, and the first half worn.

    Worn pictures are blurred and noisy, so that a scene is not told by its grain. Colours and light stay: they are the
    mood. `sight` draws on the pictures' device, but the width of this step's worn pictures is drawn on the CPU, so that no
    step waits for the GPU.
    """
    count, target = len(pictures), pictures.device

    def chance(*shape: int) -> Tensor:
        return torch.rand(shape, generator=sight, device=target)

    part = _CROP + (1 - _CROP) * chance(count, 2)
    moved = (1 - part) * (2 * chance(count, 2) - 1)
    mirrored = torch.where(chance(count) < 0.5, -1.0, 1.0)
    windows = torch.zeros(count, 2, 3, device=target)
    windows[:, 0, 0], windows[:, 1, 1] = part[:, 0] * mirrored, part[:, 1]
    windows[:, :, 2] = moved
    grid = functional.affine_grid(windows, list(pictures.shape), align_corners=False)
    fresh = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    half = count // 2
    side = fresh.shape[-1]
    narrow = round(side * np.random.default_rng(step).uniform(_WORN_SIDE, 1))
    hidden = _hidden(fresh, chance(count, 2), 0.5 * chance(count, 2), chance(count) < 0.5)
    worn = functional.interpolate(hidden[:half], (narrow, narrow), mode="bilinear", antialias=True)
    worn = functional.interpolate(worn, (side, side), mode="bilinear")
    noise = torch.randn_like(worn[:, :1]) * _WORN_NOISE * chance(half, 1, 1, 1)
    return torch.cat([worn + noise, hidden[half:]])


def _hidden(pictures: Tensor, middles: Tensor, sides: Tensor, which: Tensor) -> Tensor:
    """Return the pictures with a grey patch over some (DeVries and Taylor 2017), so that no single place is learnt by heart.

    `middles` (n, 2) and `sides` (n, 2) are parts of the picture's height and width.
    """
    places = (torch.arange(pictures.shape[-1], device=pictures.device) + 0.5) / pictures.shape[-1]
    inside = (places - middles[..., None]).abs() < sides[..., None] / 2
    patches = inside[:, 0, :, None] & inside[:, 1, None, :] & which[:, None, None]
    return pictures.masked_fill(patches[:, None], 0.5)
