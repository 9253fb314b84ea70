"""The blows to the processes of a server, at random moments."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.server import Server

#: How long a process is frozen, in seconds.
FROZEN_S = (0.05, 1.5)


class Blows:
    """The blows to one server and its GPU process, and how many of each kind were dealt."""

    def __init__(self, server: Server, gpu_process: Callable[[], int | None], hang_s: float) -> None:
        """Take a function that finds the GPU process, and a time in which the watchdog ends one that hangs in a step."""
        self.dealt: Counter[str] = Counter()
        self._server = server
        self._gpu_process = gpu_process
        self._hang_s = hang_s

    def deal(self, rng: random.Random) -> None:
        """Deal one blow. The server runs again when this returns."""
        kinds: dict[Callable[[random.Random], None], int] = {
            self.kill_gpu_process: 24,
            self.terminate_gpu_process: 8,
            self.freeze_gpu_process: 8,
            self.hang_gpu_process: 1,
            self.kill_server: 16,
            self.stop_server: 8,
            self.kill_stopping_server: 8,
            self.freeze_server: 8,
            self.kill_both: 8,
        }
        (blow,) = rng.choices(list(kinds), list(kinds.values()))
        self.dealt[blow.__name__] += 1
        blow(rng)

    # ── the GPU process ──────────────────────────────────────────────────────────────────────────────────────────────

    def kill_gpu_process(self, _: random.Random) -> None:
        self._signal_gpu_process(signal.SIGKILL)

    def terminate_gpu_process(self, _: random.Random) -> None:
        self._signal_gpu_process(signal.SIGTERM)

    def freeze_gpu_process(self, rng: random.Random) -> None:
        self._freeze(self._gpu_process(), rng.uniform(*FROZEN_S))

    def hang_gpu_process(self, _: random.Random) -> None:
        """Freeze the GPU process until the watchdog ends it, if it is in a step."""
        self._freeze(self._gpu_process(), self._hang_s)

    # ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────

    def kill_server(self, rng: random.Random) -> None:
        self._server.stop(signal.SIGKILL)
        self._start(rng)

    def stop_server(self, rng: random.Random) -> None:
        self._server.stop()
        self._start(rng)

    def kill_stopping_server(self, rng: random.Random) -> None:
        """Kill the server while it stops in good order."""
        self._server.process.send_signal(signal.SIGTERM)
        time.sleep(rng.uniform(0, 0.5))
        self._server.stop(signal.SIGKILL)
        self._start(rng)

    def freeze_server(self, rng: random.Random) -> None:
        self._freeze(self._server.process.pid, rng.uniform(*FROZEN_S))

    def kill_both(self, rng: random.Random) -> None:
        """Kill the server while its GPU process is frozen, and so cannot see that the server is gone.

        The kernel then ends the GPU process, but not a forked one: its parent is the preloaded process, which lives.
        """
        frozen = self._signal_gpu_process(signal.SIGSTOP)
        self._server.stop(signal.SIGKILL)
        self._start(rng)
        if frozen is not None:
            with suppress(ProcessLookupError):
                os.kill(frozen, signal.SIGCONT)

    # ── how ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, rng: random.Random) -> None:
        """Start the server again; one time in three, kill it while it starts."""
        while rng.random() < 1 / 3:
            self.dealt["kill_starting_server"] += 1
            killer = threading.Timer(rng.uniform(0.1, 2.0), lambda: self._server.process.kill())
            killer.start()
            # The server ends before it can say its address, or soon after.
            with suppress(AssertionError):
                self._server.start(wait_ready=False)
            killer.join()
            self._server.process.wait()
        self._server.start(wait_ready=False)

    def _signal_gpu_process(self, number: signal.Signals) -> int | None:
        """Send the GPU process a signal, and return its id; None if there was none."""
        pid = self._gpu_process()
        if pid is None:
            return None
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        return pid

    def _freeze(self, pid: int | None, seconds: float) -> None:
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(pid, signal.SIGCONT)


def any_child(pid: int) -> int | None:
    """Return one of a process's children; None if it has none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(random.choice(children)) if children else None
