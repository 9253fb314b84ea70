"""Widths and heights of images, computed from tiers and aspect ratios."""

from functools import cache
from math import sqrt
from typing import Literal, get_args

Tier = Literal["0.5K", "1K", "2K", "4K"]
TIERS: tuple[Tier, ...] = get_args(Tier)

RATIOS: tuple[str, ...] = ("1:1", "5:4", "4:5", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16", "21:9")


@cache
def size_of(tier: Tier, ratio: str, multiple: int) -> tuple[int, int]:
    """Return width and height in pixels: about (tier × 1024)² pixels at `ratio`, each the nearest multiple of `multiple`.

    >>> size_of("1K", "1:1", 64)
    (1024, 1024)
    >>> size_of("0.5K", "16:9", 32)
    (672, 384)
    """
    side, stretch = side_of(tier), sqrt(ratio_of(ratio))
    return _nearest(side * stretch, multiple), _nearest(side / stretch, multiple)


def side_of(tier: Tier) -> float:
    """Return the side in pixels of a square image of the tier."""
    return float(tier.removesuffix("K")) * 1024


def ratio_of(ratio: str) -> float:
    """Return width ÷ height of `W:H`."""
    across, down = (int(part) for part in ratio.split(":"))
    return across / down


def _nearest(length: float, multiple: int) -> int:
    return max(1, round(length / multiple)) * multiple
