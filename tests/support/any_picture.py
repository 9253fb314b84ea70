"""Colours and pictures of any kind, for property tests."""

import numpy as np
from hypothesis import strategies as st

from pipelines.output.png import Pixels

COLORS = st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=8)


def pictures(most: int) -> st.SearchStrategy[Pixels]:
    """Return a strategy for pictures of 1 … `most` pixels a side: flat ones, and some with noise."""
    side = st.integers(1, most)
    return st.builds(_picture, height=side, width=side, seed=st.integers(0, 99), level=st.integers(0, 255))


def _picture(height: int, width: int, seed: int, level: int) -> Pixels:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    pixels: Pixels = (level + noise * (seed % 3) // 8).clip(0, 255).astype(np.uint8)
    return pixels
