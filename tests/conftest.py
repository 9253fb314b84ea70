"""Real servers for the tests: a process, a data folder, a GPU process, HTTP."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.ledger.requests import RequestRow
from tests.tiny import MULTIPLE, save_all

ROOT = Path(__file__).parent.parent
SPEC = {"scene_type": "marble", "mood": "warm"}


class Server:
    """A server process on a free port; it can be stopped, killed and started again on the same data."""

    def __init__(self, data: Path, models: Path, **environment: str) -> None:
        self.data = data
        self.environment = {
            **os.environ,
            "BACKLOT_DATA": str(data),
            "BACKLOT_MODELS": str(models),
            "BACKLOT_PORT": "0",
            "BACKLOT_RATE_LIMIT": "0",
            **environment,
        }
        self.key = ""
        self.url = ""
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self, wait_ready: bool = True) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "server"], cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"sk_live_\w+", line):
                self.key = found[0]
            if found := re.search(r"(http://[\d.]+:\d+)/(readyz| )", line):
                self.url = found[1]
                break
        else:
            raise AssertionError(f"the server ended with status {self._process.wait()}")
        self.client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30)
        wait_for(lambda: self._answers("/healthz"), 20)
        if wait_ready:
            wait_for(lambda: self._answers("/readyz"), 120)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        assert self._process is not None
        self.client.close()
        self._process.send_signal(how)
        self._process.wait(30)

    def backlot(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the operator's command on this server's data."""
        return subprocess.run(
            [sys.executable, "-m", "server.cli", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
        )

    def client_of(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def new_client(self, name: str, credits_: int = 1000, *options: str) -> httpx.Client:
        made = self.backlot("clients", "add", name, "--credits", str(credits_), *options)
        assert made.returncode == 0, made.stderr
        return self.client_of(made.stdout.strip())

    def submit(self, client: httpx.Client | None = None, **spec: Any) -> str:
        """The new job's id."""
        response = (client or self.client).post("/v1/background-generator", json={**SPEC, **spec})
        assert response.status_code == 202, response.text
        return str(response.json()["job_id"])

    def job(self, job_id: str, client: httpx.Client | None = None) -> dict[str, Any]:
        response = (client or self.client).get(f"/v1/jobs/{job_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def finished(self, job_id: str, client: httpx.Client | None = None, timeout_s: float = 90) -> dict[str, Any]:
        wait_for(lambda: self.job(job_id, client)["status"] in ("SUCCESS", "FAILURE"), timeout_s)
        return self.job(job_id, client)

    def credits(self, client: httpx.Client | None = None) -> dict[str, int]:
        found: dict[str, int] = (client or self.client).get("/v1/credits").json()
        return found

    def gpu_process(self) -> int:
        """The pid of the GPU process."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def _answers(self, path: str) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended with status {self._process.returncode}"
        try:
            return self.client.get(path).status_code == 200
        except httpx.TransportError:
            return False


def wait_for(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {timeout_s} s"
        time.sleep(0.05)


def request_row(request_id: str) -> RequestRow:
    """The request log's row of a dispatch by the first client."""
    return RequestRow(
        id=request_id,
        client_id=1,
        key_id=None,
        method="POST",
        route="/v1/background-generator",
        status=202,
        error_code=None,
        job_id=None,
        credits=0,
        duration_ms=1.0,
        remote="",
        user_agent="",
    )


def models_file(path: Path, folders: dict[str, Path], extra: str = "", **card: Any) -> Path:
    """A models.toml with a card for each folder; the first is the default. `extra` is put at its end."""
    settings = {"steps": 3, "guidance": 2.0, "max_batch": 4, **card}
    lines = [f'default_model = "{next(iter(folders))}"']
    for name, folder in folders.items():
        lines += [
            f"[models.{name}]",
            f'folder = "{folder}"',
            'licence = "made for tests"',
            'tiers = ["0.5K"]',
            f"multiple_of = {MULTIPLE}",
            'prompt = "{scene} {mood} {colors}"',
            *(f"{key} = {value}" for key, value in settings.items()),
        ]
    path.write_text("\n".join([*lines, extra, ""]))
    return path


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_all(tmp_path_factory.mktemp("models"))


StartServer = Callable[..., Server]


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts servers that end with the module."""
    started: list[Server] = []

    def start(models: Path, **environment: str) -> Server:
        server = Server(tmp_path_factory.mktemp("data"), models, **environment)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def tiny_server(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A server with the tiny models, good and broken."""
    return start_server(models_file(tmp_path_factory.mktemp("toml") / "models.toml", tiny_folders))


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    """A server with the models.toml and the weights of this repository."""
    return start_server(ROOT / "models.toml")
