"""The checkpoint: one file from which a stage of the training goes on."""

import time
from pathlib import Path
from typing import Any

import torch

EVERY_S = 180.0


class Checkpoint:
    """Named modules and optimizers, written together every few minutes, with the steps done and their seconds."""

    def __init__(self, path: Path, **parts: Any) -> None:
        self._path, self._parts = path, parts
        self._written = time.monotonic()

    def restore(self) -> tuple[int, float]:
        """Load the file, and return the steps done and their seconds; zeros if there is no file."""
        if not self._path.exists():
            return 0, 0.0
        stored = torch.load(self._path, map_location="cpu")
        for name, part in self._parts.items():
            if isinstance(part, torch.optim.Optimizer):
                _go_on(part, stored[name])
            else:
                part.load_state_dict(stored[name])
        return stored["steps"], stored.get("seconds", 0.0)

    def maybe(self, steps: int, seconds: float) -> bool:
        """Write the file if the last write was long ago; return whether it was."""
        if time.monotonic() - self._written < EVERY_S:
            return False
        self.now(steps, seconds)
        return True

    def now(self, steps: int, seconds: float) -> None:
        partial = self._path.with_suffix(".partial")
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        torch.save({"steps": steps, "seconds": seconds, **parts}, partial)
        partial.replace(self._path)
        self._written = time.monotonic()


def _go_on(optimizer: torch.optim.Optimizer, stored: dict[str, Any]) -> None:
    """Load an optimizer's state, but keep this run's options, and the tensor of its rate, which others hold too."""
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict({**stored, "param_groups": optimizer.state_dict()["param_groups"]})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
