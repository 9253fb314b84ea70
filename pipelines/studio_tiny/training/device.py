"""The device and the precision of the training."""

from typing import Any

import torch


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(target: torch.device) -> Any:
    return torch.autocast(target.type, torch.bfloat16)
