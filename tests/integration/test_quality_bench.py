"""`./scripts/bench quality`, with a few images and a judge of a few lessons."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT


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
