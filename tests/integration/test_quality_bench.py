"""`./scripts/bench quality`, with a few images and a judge of a few lessons."""

import io
import math
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from benchmarks.quality.judge import trained, verdict
from benchmarks.quality.lessons import Lessons, report, teach
from benchmarks.quality.network import Judge
from benchmarks.quality.renders import SIDE
from benchmarks.quality.specs import Spec
from PIL import Image

from pipelines.output.png import Pixels
from pipelines.studio_tiny.training.pictures import Shard
from pipelines.studio_tiny.vocabulary import COLORS, MOODS, prompt
from tests.support.server import ROOT

RUST = (200, 90, 40)
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT}"}


@pytest.mark.slow
def test_a_judge_learns_to_tell_moods() -> None:
    moods = [list(MOODS).index(mood) for mood in ("bright", "dark") * 32]
    pictures = np.stack([_picture(list(MOODS)[mood], 32, index) for index, mood in enumerate(moods)])
    colors = torch.full((64, COLORS, 3), -1.0)
    colors[:, 0] = torch.tensor(RUST) / 255
    lessons = Lessons(
        torch.from_numpy(pictures).permute(0, 3, 1, 2),
        torch.tensor([(0, mood) for mood in moods]),
        colors,
        torch.arange(64) // 8,
    )
    known, held = lessons.split(0.25)
    assert len(held.pictures) == 16
    assert not set(known.sets.tolist()) & set(held.sets.tolist())
    judge = Judge()
    teach(judge, known, 16, steps=80, minutes=math.inf)
    assert "mood: 100.0%, among the first two 100.0%" in report(judge, held)


def test_the_command_keeps_a_judge_that_the_benchmark_takes(tmp_path: Path) -> None:
    for number in range(6):
        _shard(tmp_path / f"{number:06}.shard", number)
    command = [
        sys.executable, "-m", "benchmarks.quality.judge", "--shards", str(tmp_path), "--out", str(tmp_path / "judge.pt"),
        "--steps", "2", "--batch", "4", "--threads", "2",
    ]  # fmt: skip
    ended = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    assert "4 pictures of 1 held-out sets" in ended.stdout
    assert (tmp_path / "judge.pt").stat().st_size < 4e6
    specs = [Spec("sweep", "dark", (RUST,), 128, 128, 0), Spec("sand", "bright", (), 128, 128, 0)]
    named = verdict(trained(tmp_path, cores=1), np.stack([_picture(spec.mood, SIDE, 0) for spec in specs]), specs)
    assert len(named.scenes) == len(named.moods) == 2
    assert named.features.shape == (2, 64)
    assert np.isfinite(named.features).all()


def _picture(mood: str, side: int, seed: int) -> Pixels:
    """Return a plain picture whose lower half has the requested colour; its mood is in the upper half."""
    picture = np.random.default_rng(seed).integers(0, 8, (side, side, 3)) + (200 if mood == "bright" else 20)
    picture[side // 2 :] = RUST
    return picture.astype(np.uint8)


def _shard(path: Path, number: int) -> None:
    prompts, files = [], []
    for index, mood in enumerate(("bright", "dark") * 2):
        buffer = io.BytesIO()
        Image.fromarray(_picture(mood, SIDE, 100 * number + index)).save(buffer, "JPEG", quality=97)
        prompts.append(prompt("sweep", mood, [RUST]))
        files.append(buffer.getvalue())
    path.write_bytes(msgspec.msgpack.encode(Shard(prompts, files)))


@pytest.mark.slow
def test_the_table_has_every_figure_and_a_second_run_makes_nothing_anew(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "benchmarks", "quality", "--work", str(tmp_path), "--images", "4", "--sets", "2",
        "--lessons", "2", "--steps", "2", "--cores", "1",
    ]  # fmt: skip

    def run() -> list[str]:
        ended = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
        return ended.stdout.splitlines()

    first = run()
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert run() == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == made
    for figure in (
        "CIEDE2000", "scene named", "mood named", "Fréchet", "sharpness", "within a scene", "over the seeds", "seconds", "memory"
    ):  # fmt: skip
        assert any(figure in line for line in first), figure
