"""Real servers for the tests: a process, a data folder, a GPU process, HTTP."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parent.parent.parent
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
            [sys.executable, "-m", "server.operator.command", *arguments],
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


StartServer = Callable[..., Server]
