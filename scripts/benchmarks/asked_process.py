"""Runs code that Backlot is compared with in a process of its own, and asks it in lines of JSON."""

import json
import subprocess
import sys
from typing import Any

from tests.support.server import ROOT


class AskedProcess:
    """`python -m MODULE`, which reads one JSON order a line and answers each with one JSON line."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT / "scripts",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **order: Any) -> Any:
        """Return the answer to an order. Raises RuntimeError if the process ends instead."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        """Return the next line that it writes. Raises RuntimeError if it ends instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended with status {self._process.wait()} without an answer")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
