"""A real GPU process, with which a test speaks the protocol as the server does."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Pipe
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pipelines.protocol import Order, Report, decode_report, encode
from server.scheduler.process import StartedProcess
from tests.support.device import DEVICE
from tests.support.preloaded import ForkedProcess
from tests.support.server import ROOT

T = TypeVar("T", bound=Report)


class GpuProcess:
    """`python -m pipelines.worker` on the tests' device, from here to the end of the with block."""

    def __init__(self, logs: Path, memory_gib: float = 0, preloaded: Path | None = None, **environment: str) -> None:
        """Start the process, or have the preloaded process at this socket fork it; 0 GiB is no limit."""
        start: Callable[..., StartedProcess] = (
            subprocess.Popen if preloaded is None else partial(ForkedProcess.worker, preloaded)
        )
        self._pipe, child = Pipe()
        with child:
            command = [
                sys.executable,
                "-m",
                "pipelines.worker",
                str(child.fileno()),
                str(DEVICE),
                str(memory_gib),
                str(logs / "gpu-process.log"),
            ]
            self._process = start(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                pass_fds=[child.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        #: Every report so far, oldest first.
        self.reports: list[Report] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()

    def send(self, *orders: Order) -> None:
        for order in orders:
            self._pipe.send_bytes(encode(order))

    def wait(self, kind: type[T], fits: Callable[[T], bool] = lambda _: True, timeout_s: float = 120) -> T:
        """Return the next report of this kind that fits. Raises TimeoutError, and EOFError if the process is gone."""
        while self._pipe.poll(timeout_s):
            report = decode_report(self._pipe.recv_bytes())
            self.reports.append(report)
            if isinstance(report, kind) and fits(report):
                return report
        raise TimeoutError(f"no {kind.__name__} within {timeout_s:g} s, but {self.reports[-5:]}")

    def of(self, kind: type[T]) -> list[T]:
        """Return the reports of this kind so far."""
        return [report for report in self.reports if isinstance(report, kind)]
