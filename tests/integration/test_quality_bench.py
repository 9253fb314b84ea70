"""`./scripts/bench quality`, with a few images and a judge of a few lessons."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.quality.descriptors import describe, worn

from tests.support.server import ROOT


def test_descriptors_tell_light_colour_and_direction() -> None:
    upright = np.full((128, 128, 3), 60, np.uint8)
    upright[:, 64:] = 200
    lying = np.ascontiguousarray(upright.transpose(1, 0, 2))
    red = np.ascontiguousarray(upright * np.array([1, 0, 0], np.uint8))
    described = [describe(pixels) for pixels in (upright, lying, red, worn(upright, 60), np.zeros_like(upright))]
    assert all(row.shape == (444,) and np.isfinite(row).all() for row in described)
    assert np.array_equal(described[0], describe(upright))
    assert all(np.abs(described[0] - other).max() > 0.2 for other in described[1:])


@pytest.mark.slow
def test_the_table_has_every_figure_and_a_second_run_makes_nothing_anew(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "benchmarks", "quality", "--work", str(tmp_path), "--images", "4", "--sets", "2",
        "--lessons", "2", "--steps", "2", "--cores", "1",
    ]  # fmt: skip

    def run() -> list[str]:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT}"}
        ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return ended.stdout.splitlines()

    first = run()
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert run() == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == made
    for figure in ("CIEDE2000", "scene named", "mood named", "Fréchet", "sharpness", "diversity", "seconds", "memory"):
        assert any(figure in line for line in first), figure
