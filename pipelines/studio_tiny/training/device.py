"""Where to compute, and how fast to learn."""

from typing import Any

import torch


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(target: torch.device) -> Any:
    return torch.autocast(target.type, torch.bfloat16)


def pace(step: int, total: int, warm: int, cool: float) -> float:
    """Return the part of the learning rate: up over `warm` steps, level, down to 2 % over the last part `cool`."""
    left = (total - step) / max(1, cool * total)
    return min(1.0, (step + 1) / warm, max(0.02, left))
