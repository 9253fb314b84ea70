"""Matching colours: many random ones, and in fresh interpreters, since the bytes may not depend on the number of threads."""

import os
import statistics
import subprocess
import sys

import numpy as np

from pipelines.colors import Rgb
from pipelines.output.measurement import evaluate
from pipelines.output.palette import match
from tests.support.still_life import still_life


def test_the_same_bytes_on_one_thread_and_on_four() -> None:
    program = (
        "import hashlib; from pipelines.output.palette import match; from tests.support.still_life import still_life;"
        "print(hashlib.sha256(match(still_life(), [(31, 42, 68), (243, 234, 215)]).tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(digests) == 1


def test_random_colors_are_reached_in_the_median() -> None:
    random = np.random.default_rng(11)
    before, after = [], []
    for index in range(15):
        colors: list[Rgb] = [tuple(color) for color in random.integers(0, 256, (1 + index % 3, 3)).tolist()]
        before += [color.delta_e for color in evaluate(still_life(), colors).palette]
        after += [color.delta_e for color in evaluate(match(still_life(), colors), colors).palette]
    assert statistics.median(before) > 15
    assert statistics.median(after) <= 2


def test_random_colors_are_reached_in_a_picture_that_is_all_texture() -> None:
    random = np.random.default_rng(3)
    after = []
    for index in range(8):
        colors: list[Rgb] = [tuple(color) for color in random.integers(0, 256, (1 + index % 3, 3)).tolist()]
        spots = random.normal(0, 45, (24, 24, 3)).repeat(10, axis=0).repeat(10, axis=1)
        texture = (
            (random.integers(70, 180, 3) + spots + random.normal(0, 12, spots.shape)).clip(0, 255).astype(np.uint8)
        )
        after += [color.delta_e for color in evaluate(match(texture, colors), colors).palette]
    assert statistics.median(after) <= 2
