"""Real servers for the tests and the benchmarks: a process, a data folder, a GPU process, HTTP."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from server.keys import new_client
from server.ledger.connection import connect, transaction
from tests.support.files import models_file
from tests.support.weights import bare_folder

ROOT = Path(__file__).parent.parent.parent
#: Seconds to wait for something that happens at once on an idle machine. On a busy one only a fault takes so long.
PATIENCE_S = 120.0
SPEC = {"scene_type": "marble", "mood": "warm"}


class Server:
    """A server process on a free port; it can be stopped, killed and started again on the same data."""

    #: The module that the process runs, and the command that runs it.
    module = "server"
    under: tuple[str, ...] = ()

    def __init__(self, data: Path, models: Path = ROOT / "models.toml", **environment: str) -> None:
        self.data = data
        self.environment = {
            **os.environ,
            "BACKLOT_DATA": str(data),
            "BACKLOT_MODELS": str(models),
            "BACKLOT_PORT": "0",
            "BACKLOT_RATE_LIMIT": "0",
            "BACKLOT_READ_LIMIT": "0",
            **environment,
        }
        self.key = ""
        self.url = ""
        self._running: subprocess.Popen[str] | None = None

    def start(self, wait_ready: bool = True) -> None:
        """Start the process and wait for its address; if `wait_ready`, also until a model can serve."""
        process = self.launch()
        self._running = process
        for line in process.stdout or ():
            if found := re.search(r"sk_live_\w+", line):
                self.key = found[0]
            if found := re.search(r"(http://(?:[\w.]+|\[[\da-f:]+\]):\d+)/(readyz| )", line):
                self.url = found[1]
                break
        else:
            raise AssertionError(f"the server ended with status {process.wait()}")
        # The server listens already: a request that comes before it serves waits for its answer.
        self.client = self.client_of(self.key)
        if wait_ready:
            self.wait_ready()

    def launch(self) -> subprocess.Popen[str]:
        """Start the process, and read its output through a pipe."""
        return subprocess.Popen(
            [*self.under, sys.executable, "-m", self.module],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> None:
        """Wait until a model can serve."""
        wait_for(lambda: self._answers("/readyz"))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.client.close()
        self.process.send_signal(how)
        # A server with a locked database takes up to 30 s to end.
        self.process.wait(60)

    @property
    def process(self) -> subprocess.Popen[str]:
        if self._running is None:
            raise AssertionError("the server was never started")
        return self._running

    def backlot(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the operator's command on this server's data."""
        return subprocess.run(
            [sys.executable, "-m", "server.operator.command", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
        )

    def client_of(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def new_client(self, name: str, credits_: int = 1000, *, test: bool = False) -> httpx.Client:
        """Make a client as `backlot clients add` does, but in this process; return an HTTP client with its key."""
        with closing(connect(self.data / "backlot.db")) as ledger, transaction(ledger):
            return self.client_of(new_client(ledger, name, credits_, test=test))

    def submit(self, client: httpx.Client | None = None, **spec: Any) -> str:
        """Submit a job, and return its id."""
        response = (client or self.client).post("/v1/background-generator", json={**SPEC, **spec})
        assert response.status_code == 202, response.text
        return str(response.json()["job_id"])

    def job(self, job_id: str, client: httpx.Client | None = None) -> dict[str, Any]:
        response = (client or self.client).get(f"/v1/jobs/{job_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def finished(
        self, job_id: str, client: httpx.Client | None = None, timeout_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """Wait until a job has ended and return it."""
        deadline = time.monotonic() + timeout_s
        since, ended = 0, False
        while not ended:
            assert time.monotonic() < deadline, f"the job {job_id} has not ended within {timeout_s} s"
            response = (client or self.client).get(f"/v1/jobs/{job_id}/events", params={"since": since, "wait": 5})
            assert response.status_code == 200, response.text
            page = response.json()
            since = page["latest_seq"]
            ended = bool(page["events"]) and page["events"][-1]["event_type"] in ("succeeded", "failed")
        return self.job(job_id, client)

    def credits(self, client: httpx.Client | None = None) -> dict[str, int]:
        found: dict[str, int] = (client or self.client).get("/v1/credits").json()
        return found

    def gpu_process(self) -> int:
        """Wait for the GPU process and return its process id."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        wait_for(lambda: children.read_text() != "")
        return int(children.read_text().split()[0])

    def _answers(self, path: str) -> bool:
        assert self.process.poll() is None, f"the server ended with status {self.process.returncode}"
        try:
            return self.client.get(path).status_code == 200
        except httpx.TransportError:
            return False


class ServerWithoutGpu(Server):
    """A server with a fake GPU process that is up at once and generates everything, for tests that are not about images."""

    module = "tests.support.without_gpu"

    def __init__(self, folder: Path, extra: str = "", **environment: str) -> None:
        """Make the models file and the data folder in `folder`: the model `fake`, and `closed`, which knows few words.

        `extra` is put at the file's end, in the card of `closed`.
        """
        model = bare_folder(folder / "model")
        models = models_file(
            folder / "models.toml", {"fake": model, "closed": model}, f'vocabulary = "studio-tiny"\n{extra}'
        )
        super().__init__(folder / "data", models, **environment)


class ServerWithPreloadedGpu(Server):
    """A server whose GPU processes are forked, and so are up in a moment."""

    module = "tests.support.preloaded_server"

    def __init__(self, data: Path, models: Path, worker: Path, **environment: str) -> None:
        """Make a server whose GPU processes are forked by the preloaded process at this socket."""
        # They have one thread; a command whose images are compared with theirs must have one too.
        super().__init__(data, models, PRELOADED_WORKER=str(worker), OMP_NUM_THREADS="1", **environment)

    def gpu_process(self) -> int:
        """Wait for the GPU process and return its process id. It is no child of the server, but the server's log names it."""
        log = self.data / "logs" / "server.log"
        pids: list[str] = []

        def is_there() -> bool:
            pids[:] = re.findall(r"The GPU process (\d+) of \S+ was started", log.read_text())
            return bool(pids) and Path(f"/proc/{pids[-1]}").exists()

        wait_for(is_there)
        return int(pids[-1])


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def wait_for(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {timeout_s} s"
        time.sleep(0.05)


StartServer = Callable[..., Server]
