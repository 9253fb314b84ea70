"""A process that has imported torch, and forks GPU processes from itself: each is up in a moment instead of after 5 s of CPU.

`python -m tests.torture.preloaded SOCKET` listens on a Unix socket. A connection brings the arguments of one
`python -m pipelines.worker` and the descriptor of its pipe; it is answered with the process id, and at its end with the exit
status as `os.waitstatus_to_exitcode` gives it. What runs in the fork is the worker's own `main`.
"""

import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import msgspec


class ForkedProcess:
    """A GPU process forked from the preloaded one. It has of `subprocess.Popen` what the server uses."""

    def __init__(self, socket_path: Path, command: Sequence[str], *, pass_fds: Sequence[int], **_: Any) -> None:
        """Start `python -m pipelines.worker FD …`. Raises OSError if the preloaded process is gone."""
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.connect(str(socket_path))
        self._status: int | None = None
        # The descriptor has another number there, so it goes beside the arguments.
        socket.send_fds(self._connection, [msgspec.json.encode(list(command[4:]))], list(pass_fds))
        self.pid = int(self._connection.recv(64))

    def kill(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status. Raises subprocess.TimeoutExpired."""
        if self._status is None:
            self._connection.settimeout(timeout)
            try:
                # Looked at, not taken: several threads may wait.
                self._status = int(self._connection.recv(64, socket.MSG_PEEK))
            except TimeoutError:
                raise TimeoutExpired("pipelines.worker", timeout or 0) from None
        return self._status


def main() -> None:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(sys.argv[1])
    _import_all()
    listening.listen()
    print("preloaded", flush=True)  # noqa: T201
    #: The connection of each process that runs.
    running: dict[int, socket.socket] = {}
    while True:
        # A process that ends is noticed within this time.
        if select.select([listening], [], [], 0.02)[0]:
            connection, _ = listening.accept()
            arguments, fds, _, _ = socket.recv_fds(connection, 4096, 1)
            if not fds:
                # The server was killed before it could ask for anything.
                connection.close()
                continue
            pid = os.fork()
            if pid == 0:
                listening.close()
                for other in (connection, *running.values()):
                    other.close()
                _work(fds[0], msgspec.json.decode(arguments, type=list[str]))
            os.close(fds[0])
            _tell(connection, pid)
            running[pid] = connection
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            with running.pop(pid) as connection:
                _tell(connection, os.waitstatus_to_exitcode(status))


def _tell(connection: socket.socket, number: int) -> None:
    """Tell a server, unless it was killed meanwhile."""
    with suppress(ConnectionError):
        connection.send(str(number).encode())


def _import_all() -> None:
    """Import what a GPU process with the tiny pipeline imports sooner or later, and start no thread."""
    import diffusers
    import transformers

    import pipelines.worker.engine  # noqa: F401

    for library, names in (
        (diffusers, ("StableDiffusionPipeline", "AutoencoderKL", "UNet2DConditionModel", "DDIMScheduler")),
        (transformers, ("CLIPTextModel", "PreTrainedTokenizerFast")),
    ):
        for name in names:
            getattr(library, name)


def _work(pipe: int, arguments: list[str]) -> None:
    """Be a GPU process until it ends."""
    from pipelines.worker.__main__ import main as work

    os.setsid()
    sys.argv = ["pipelines.worker", str(pipe), *arguments]
    try:
        work()
    finally:
        # Not what the fork inherited of the parent's clean-up.
        os._exit(1)


if __name__ == "__main__":
    main()
