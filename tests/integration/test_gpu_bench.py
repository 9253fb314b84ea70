"""`./scripts/bench gpu`, with tiny models on a CPU; and that its large ones are as large as the real ones."""

import os
import subprocess
import sys

import pytest
import torch
from benchmarks.gpu.bench import between, one_by_one
from benchmarks.gpu.shapes import SHAPES
from benchmarks.gpu.weights import MAKERS

from tests.support.server import ROOT


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT}"}
    command = [sys.executable, "-m", "benchmarks", "gpu", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SHAPES))
def test_the_table_has_a_row_for_each_way(name: str) -> None:
    ended = bench("--device", "cpu", "--tiny", "--models", name)
    assert ended.returncode == 0, ended.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ended.stdout.splitlines() if "512²" in line]
    assert [row[2] for row in rows] == ["diffusers, eager", "Backlot, eager", "diffusers, tuned", "Backlot, tuned"]
    for row in rows:
        assert all(float(cell) > 0 for cell in row[3:7]), row
        assert float(row[7]) >= 0
        assert row[8].endswith("%")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line() -> None:
    ended = bench()
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "sees no GPU" in ended.stderr
    assert "there is no x; there are sdxl," in bench("--models", "x").stderr


@pytest.mark.parametrize(
    ("name", "billions"), [("sdxl", 2.57), ("flux1", 11.90), ("z-image", 6.15), ("qwen-image", 20.43)]
)
def test_a_denoiser_is_as_large_as_the_real_one(name: str, billions: float) -> None:
    with torch.device("meta"):
        denoiser = MAKERS[name].denoiser()
    assert sum(weights.numel() for weights in denoiser.parameters()) / 1e9 == pytest.approx(billions, abs=0.01)


def test_figures() -> None:
    # The pause between two batches of three steps is 2.5 s, of which a step is 0.5 s.
    assert between([0.5, 1.0, 1.5, 4.0, 4.5, 5.0]) == 2.0
    assert between([1.0]) == 0.0
    # The second request waits for the first; the third waits for none.
    assert one_by_one([0.0, 1.0, 9.0], 2.0) == [2.0, 3.0, 2.0]
