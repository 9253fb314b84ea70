"""The arguments of `./scripts/bench`; nothing is measured here."""

import os
import subprocess
import sys

import pytest

from tests.support.server import ROOT


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT}"}
    return subprocess.run([sys.executable, "-m", "benchmarks", *words], env=environment, capture_output=True, text=True)


def test_help_lists_the_names_and_starts_nothing() -> None:
    told = bench("--help")
    assert told.returncode == 0
    assert "throughput" in told.stdout
    assert "── " not in told.stdout


@pytest.mark.parametrize("words", [["--images", "4"], ["throughput", "--images", "4"], ["cold", "swap", "-x"], ["no"]])
def test_what_no_benchmark_takes_is_refused_and_starts_nothing(words: list[str]) -> None:
    refused = bench(*words)
    assert refused.returncode == 1
    assert "Usage: ./scripts/bench" in refused.stderr
    assert refused.stdout == ""
