"""A Backlot server of its own for a measurement, on a temporary data folder."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import httpx

ROOT = Path(__file__).parent.parent.parent
SPEC = {"scene_type": "marble", "mood": "warm", "dominant_colors": ["ivory", "goldenrod"]}


class Server:
    """A context: the server runs inside it and is ready."""

    def __init__(self, models: Path = ROOT / "models.toml", price: int = 5, **environment: str) -> None:
        self._folder = TemporaryDirectory(prefix="backlot-bench-")
        self.data = Path(self._folder.name) / "data"
        self._environment = {
            **os.environ,
            "BACKLOT_DATA": str(self.data),
            "BACKLOT_MODELS": str(models),
            "BACKLOT_PORT": "0",
            "BACKLOT_RATE_LIMIT": "0",
            "BACKLOT_QUEUE_LIMIT": "1000000",
            "BACKLOT_LOG_LEVEL": "ERROR",
            **environment,
        }

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "server"], cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"sk_live_\w+", line):
                self.key = found[0]
            if found := re.search(r"(http://[\d.]+:\d+)/readyz", line):
                self.url = found[1]
                break
        self.headers = {"Authorization": f"Bearer {self.key}"}
        self.http = httpx.Client(base_url=self.url, headers=self.headers, timeout=60)
        self.backlot("clients", "grant", "studio", "100000000")
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.http.close()
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def backlot(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "server.operator.command", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self._environment, check=True, capture_output=True, text=True)
        return done.stdout

    def ready(self) -> None:
        while True:
            try:
                if self.http.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.02)

    def pause_gpu_process(self) -> None:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        while not (started := children.read_text().split()):
            time.sleep(0.02)
        os.kill(int(started[0]), signal.SIGSTOP)

    def submit(self, **spec: Any) -> str:
        response = self.http.post("/v1/background-generator", json={**SPEC, **spec})
        response.raise_for_status()
        return str(response.json()["job_id"])

    def finish(self, job_id: str) -> dict[str, Any]:
        """Wait for a job; its page."""
        since = 0
        while True:
            page = self.http.get(f"/v1/jobs/{job_id}/events", params={"since": since, "wait": 30}).json()
            since = page["latest_seq"]
            if page["events"] and page["events"][-1]["event_type"] in ("succeeded", "failed"):
                break
        job: dict[str, Any] = self.http.get(f"/v1/jobs/{job_id}").json()
        if job["status"] != "SUCCESS":
            raise RuntimeError(f"job {job_id} failed: {job['latest_event']}")
        return job
