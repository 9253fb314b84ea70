"""Runs a server for a measurement, on a temporary data folder, with credits that never run out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.server import ROOT, Server

#: Its image is not steered to its colours, so that the server does the work of a bare pipeline and no more.
SPEC: dict[str, Any] = {
    "scene_type": "marble",
    "mood": "warm",
    "dominant_colors": ["ivory", "goldenrod"],
    "palette": "prompt",
}


@contextmanager
def fresh_server() -> Iterator[Server]:
    """Run a server with the shipped model; it may not be ready yet."""
    with TemporaryDirectory(prefix="backlot-bench-") as folder, running(Path(folder) / "data") as server:
        yield server


@contextmanager
def running(data: Path, models: Path = ROOT / "models.toml", **environment: str) -> Iterator[Server]:
    """Run a server on a data folder, with the shipped model or those of a file; it may not be ready yet."""
    server = Server(data, models, BACKLOT_QUEUE_LIMIT="1000000", BACKLOT_LOG_LEVEL="ERROR", **environment)
    server.start(wait_ready=False)
    try:
        server.backlot("clients", "grant", "studio", "100000000")
        yield server
    finally:
        server.stop()


def succeeded(server: Server, job_id: str) -> dict[str, Any]:
    """Wait for a job and return it. Raises RuntimeError if it failed."""
    job = server.finished(job_id, timeout_s=3600)
    if job["status"] != "SUCCESS":
        raise RuntimeError(f"job {job_id} failed: {job['latest_event']}")
    return job
