"""Processes that have imported everything that is slow to import, and fork others from themselves: these are up in a moment.

`python -m tests.support.preloaded worker|server SOCKET` listens on a Unix socket. A connection brings the arguments and the
environment of a program, and a descriptor. It is answered with the process id, and at the end of the process with its exit
status as `os.waitstatus_to_exitcode` gives it. The fork runs the program's own `main`: that of
`python -m pipelines.worker`, which takes the descriptor for its pipe, or that of `python -m tests.support.preloaded_server`,
which takes it for its output. docs/decisions/tests.md says how much this saves. Both compute with one thread.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import IO, Any

import msgspec

ROOT = Path(__file__).parent.parent.parent


class Program(msgspec.Struct):
    """The program that a fork becomes."""

    arguments: list[str]
    environment: dict[str, str]


class ForkedProcess:
    """A process forked from a preloaded one. It has the part of `subprocess.Popen` that its users need."""

    stdout: IO[str] | None = None

    def __init__(
        self, preloaded: Path, arguments: Sequence[str], *, pass_fds: Sequence[int], env: Mapping[str, str], **_: Any
    ) -> None:
        """Start the program. Raises OSError if the preloaded process is gone."""
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.connect(str(preloaded))
        self.returncode: int | None = None
        program = Program(list(arguments), dict(env))
        socket.send_fds(self._connection, [msgspec.json.encode(program)], list(pass_fds))
        self.pid = int(self._connection.recv(64))

    @classmethod
    def worker(cls, preloaded: Path, command: Sequence[str], **options: Any) -> "ForkedProcess":
        """Start `python -m pipelines.worker FD …`; the descriptor has another number in the fork."""
        return cls(preloaded, command[4:], **options)

    @classmethod
    def server(cls, preloaded: Path, env: Mapping[str, str]) -> "ForkedProcess":
        """Start the server, and read its output."""
        reading, writing = os.pipe()
        try:
            process = cls(preloaded, [], pass_fds=[writing], env=env)
        finally:
            os.close(writing)
        process.stdout = os.fdopen(reading)
        return process

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            # The process may have been reaped before its end was reported.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        with suppress(TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process, and return its exit status. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            # Several threads may wait, so each looks at the status and leaves it there.
            if not select.select([self._connection], [], [], timeout)[0]:
                raise TimeoutExpired("a forked process", timeout or 0)
            self.returncode = int(self._connection.recv(64, socket.MSG_PEEK))
        return self.returncode


@contextmanager
def preloaded(program: str, path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run the preloaded process of `worker` or `server`, which listens on the socket at this path."""
    command = [sys.executable, "-m", "tests.support.preloaded", program, str(path)]
    # A fork inherits the number of torch's threads.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "preloaded\n"
        yield process
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parent = os.getppid()
    run = {"worker": _preload_worker, "server": _preload_server}[sys.argv[1]]()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(sys.argv[2])
    listening.listen()
    print("preloaded", flush=True)  # noqa: T201
    #: The connection of each running process, by its id.
    running: dict[int, socket.socket] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        # The loop ends if the process that started this one is killed.
        while os.getppid() == parent:
            _fork_and_reap(run, listening, running)
    finally:
        # The forked processes are in sessions of their own, and nobody else knows of them.
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _fork_and_reap(run: Callable[[int], None], listening: socket.socket, running: dict[int, socket.socket]) -> None:
    """Fork the process that is asked for, if one is, and report those that have ended; wait 20 ms at most for a question."""
    if select.select([listening], [], [], 0.02)[0]:
        connection, _ = listening.accept()
        message, fds, _, _ = socket.recv_fds(connection, 65536, 1)
        if not fds:
            # The asking process was killed before it could ask for anything.
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            listening.close()
            for other in (connection, *running.values()):
                other.close()
            _be(run, fds[0], msgspec.json.decode(message, type=Program))
        os.close(fds[0])
        _tell(connection, pid)
        running[pid] = connection
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as connection:
            _tell(connection, os.waitstatus_to_exitcode(status))


def _tell(connection: socket.socket, number: int) -> None:
    """Send a number to the asking process, unless it was killed meanwhile."""
    with suppress(ConnectionError):
        connection.send(str(number).encode())


def _be(run: Callable[[int], None], descriptor: int, program: Program) -> None:
    """Run the program in this process until it ends."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setsid()
    os.environ.clear()
    os.environ.update(program.environment)
    sys.argv[1:] = program.arguments
    status = 1
    try:
        run(descriptor)
        status = 0
    except SystemExit as ending:
        if isinstance(ending.code, str):
            print(ending.code, file=sys.stderr)  # noqa: T201
        status = ending.code if isinstance(ending.code, int) else 1
    finally:
        # The clean-up of the preloaded process, which the fork inherited, must not run here.
        os._exit(status)


def _preload_worker() -> Callable[[int], None]:
    """Import everything that a GPU process with the tiny pipeline imports sooner or later, and start no thread."""
    import diffusers
    import transformers

    import pipelines.worker.engine  # noqa: F401
    from pipelines.worker.__main__ import main as work

    for library, names in (
        (diffusers, ("StableDiffusionPipeline", "AutoencoderKL", "UNet2DConditionModel", "DDIMScheduler")),
        (transformers, ("CLIPTextModel", "PreTrainedTokenizerFast")),
    ):
        for name in names:
            getattr(library, name)

    def run(pipe: int) -> None:
        sys.argv.insert(1, str(pipe))
        work()

    return run


def _preload_server() -> Callable[[int], None]:
    import server.http_server  # noqa: F401
    from tests.support.preloaded_server import serve

    def run(output: int) -> None:
        os.dup2(output, 1)
        os.close(output)
        serve()

    return run


if __name__ == "__main__":
    main()
