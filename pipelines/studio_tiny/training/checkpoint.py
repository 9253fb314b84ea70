"""One file that a stage of the training goes on from."""

import time
from pathlib import Path
from typing import Any

import torch

EVERY_S = 180.0


class Checkpoint:
    """Named modules and optimizers, written whole every few minutes."""

    def __init__(self, path: Path, **parts: Any) -> None:
        self._path, self._parts = path, parts
        self._written = time.monotonic()

    def restore(self) -> int:
        """Load what was written and return the steps done; 0 if nothing was."""
        if not self._path.exists():
            return 0
        stored = torch.load(self._path, map_location="cpu")
        for name, part in self._parts.items():
            part.load_state_dict(stored[name])
        steps: int = stored["steps"]
        return steps

    def maybe(self, steps: int) -> bool:
        """Write if the last time was long ago; return whether it was."""
        if time.monotonic() - self._written < EVERY_S:
            return False
        self.now(steps)
        return True

    def now(self, steps: int) -> None:
        partial = self._path.with_suffix(".partial")
        torch.save({"steps": steps, **{name: part.state_dict() for name, part in self._parts.items()}}, partial)
        partial.replace(self._path)
        self._written = time.monotonic()
