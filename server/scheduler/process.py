"""The parent's end of the GPU process: start it, talk to it, see it die, kill it.

The process is a fresh interpreter that runs `python -m pipelines.worker` with one end of a socket pair, so nothing of
the server is imported there. When either side dies the other reads the end of the pipe at once.
"""

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from pipelines.protocol import Order, Report, decode_report, encode

log = logging.getLogger(__name__)


class Worker:
    """One GPU process, from its start to its death."""

    def __init__(self, device: str, memory_gib: float, logs: Path, *, silent: bool = False) -> None:
        """Start the process; what it reports waits until it is followed. It logs to a file in `logs` and, unless `silent`, to
        the terminal. Raises OSError."""
        self._pipe, child = Pipe()
        with child:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "pipelines.worker",
                    str(child.fileno()),
                    device,
                    str(memory_gib),
                    str(logs),
                ],
                pass_fds=[child.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if silent else None,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                # Ctrl-C in the terminal is for the server, which then ends this process in good order.
                start_new_session=True,
            )

    def follow(self, on_report: Callable[["Worker", Report], None], on_death: Callable[["Worker", int], None]) -> None:
        """Call these on the running event loop: for every report, and once with the exit status."""
        loop = asyncio.get_running_loop()

        def post(report: Report | int) -> None:
            if loop.is_closed():
                return
            if isinstance(report, int):
                loop.call_soon_threadsafe(on_death, self, report)
            else:
                loop.call_soon_threadsafe(on_report, self, report)

        threading.Thread(target=_follow, args=(self._pipe, self._process, post), daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, order: Order) -> None:
        """A process that is gone takes no orders; its death is reported by the callback."""
        try:
            self._pipe.send_bytes(encode(order))
        except OSError as error:
            log.warning("The GPU process %d did not take %s: %s", self.pid, type(order).__name__, error)

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout_s: float) -> bool:
        """Whether the process is gone within the time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


def _follow(pipe: Connection, process: "subprocess.Popen[bytes]", post: Callable[[Report | int], None]) -> None:
    """Read reports until the process dies, then post its exit status: negative is the signal that ended it."""
    try:
        while True:
            post(decode_report(pipe.recv_bytes()))
    except (EOFError, OSError):
        pass
    except Exception:
        log.exception("The GPU process %d sent what cannot be read; it is ended", process.pid)
        process.kill()
    post(process.wait())
