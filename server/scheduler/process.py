"""The server's end of a GPU process: start it, talk to it, see it end, kill it.

The process is a fresh interpreter that runs `python -m pipelines.worker` with one end of a socket pair, so nothing of the
server is imported there. When either side ends, the other reads the end of the pipe at once.
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
from queue import SimpleQueue
from typing import Protocol

from pipelines.protocol import Order, Report, decode_report, encode

log = logging.getLogger(__name__)


class Process(Protocol):
    """A GPU process that was started, as the scheduler sees it."""

    @property
    def pid(self) -> int: ...

    def follow(self, on_report: Callable[[Report], None], on_exit: Callable[[int], None]) -> None:
        """Call these on the running event loop: `on_report` for every report, and at the end `on_exit` with the exit status.

        A negative status is the number of the signal that ended the process. Raises OSError.
        """

    def send(self, order: Order) -> None:
        """Send an order, and do not wait until it is read: the process may hang.

        An order to a process that has ended is lost; `on_exit` tells of that end.
        """

    def kill(self) -> None: ...

    def wait(self, timeout_s: float) -> bool:
        """Return whether the process ends within the time."""


class StartedProcess(Protocol):
    """The part of `subprocess.Popen` that is used."""

    pid: int

    def kill(self) -> None: ...

    def wait(self, timeout: float | None = None) -> int: ...


#: Starts a GPU process. Raises OSError if the operating system refuses.
ProcessFactory = Callable[[], Process]


class GpuProcess:
    """One real GPU process, from its start to its end."""

    def __init__(
        self,
        device: str,
        memory_gib: float,
        log_file: Path,
        *,
        threads: int | None = None,
        silent: bool = False,
        start: Callable[..., StartedProcess] = subprocess.Popen,
    ) -> None:
        """Start the process. Its reports wait until `follow` is called.

        It computes with `threads` CPU threads, unless OMP_NUM_THREADS says otherwise; None leaves that to torch, which takes
        one for each core. It logs to the file and, unless `silent`, to the terminal. `start` takes what `subprocess.Popen`
        takes. Raises OSError.
        """
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if threads is not None:
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        self._pipe, child = Pipe()
        #: The encoded orders that are not in the pipe yet, and None after the last.
        self._orders: SimpleQueue[bytes | None] = SimpleQueue()
        with child:
            self._process = start(
                [
                    sys.executable,
                    "-m",
                    "pipelines.worker",
                    str(child.fileno()),
                    device,
                    str(memory_gib),
                    str(log_file),
                ],
                pass_fds=[child.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if silent else None,
                env=environment,
                # Ctrl-C in the terminal is for the server, which then ends this process in good order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def follow(self, on_report: Callable[[Report], None], on_exit: Callable[[int], None]) -> None:
        """See Process. A thread named `reports` reads its reports, and one named `orders` writes its orders.

        Raises OSError, and ends the process, if the operating system refuses a thread.
        """
        post = posted_to_loop(on_report, on_exit)
        try:
            threading.Thread(
                target=_write, args=(self._pipe, self.pid, self._orders), name="orders", daemon=True
            ).start()
            arguments = (self._pipe, self._process, self._orders, post)
            threading.Thread(target=_follow, args=arguments, name="reports", daemon=True).start()
        except RuntimeError as error:
            self.kill()
            self._orders.put(None)
            raise OSError(f"the GPU process {self.pid} cannot be followed: {error}") from error

    def send(self, order: Order) -> None:
        """See Process."""
        self._orders.put(encode(order))

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout_s: float) -> bool:
        """See Process."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


def posted_to_loop(
    on_report: Callable[[Report], None], on_exit: Callable[[int], None]
) -> Callable[[Report | int], None]:
    """Return a function that a thread calls with a report or an exit status, which the running event loop then hears."""
    loop = asyncio.get_running_loop()

    def post(report: Report | int) -> None:
        if loop.is_closed():
            return
        if isinstance(report, int):
            loop.call_soon_threadsafe(on_exit, report)
        else:
            loop.call_soon_threadsafe(on_report, report)

    return post


def _write(pipe: Connection, pid: int, orders: "SimpleQueue[bytes | None]") -> None:
    """Write every order into the pipe. It takes some 200 KB of unread orders; after that a write waits."""
    try:
        while (order := orders.get()) is not None:
            pipe.send_bytes(order)
    except OSError as error:
        log.warning("The GPU process %d takes no more orders: %s", pid, error)


def _follow(
    pipe: Connection,
    process: StartedProcess,
    orders: "SimpleQueue[bytes | None]",
    post: Callable[[Report | int], None],
) -> None:
    """Post every report until the process ends, and then its exit status."""
    try:
        while True:
            post(decode_report(pipe.recv_bytes()))
    except (EOFError, OSError):
        # The other end is closed, so the process has ended or is about to.
        pass
    except Exception:
        log.exception("The GPU process %d sent what cannot be read; it is ended", process.pid)
        process.kill()
    status = process.wait()
    orders.put(None)
    post(status)
