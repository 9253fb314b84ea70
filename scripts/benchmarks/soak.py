"""A server under steady load for an hour: whether its memory, descriptors, threads and database stay flat.

`SOAK_MINUTES` sets another length, and `SOAK_MODEL=tiny` takes a GPU process with a tiny pipeline in place of the fake one,
whose memory is then measured too. The plot is written to docs/soak.svg, or to docs/soak-tiny.svg.
"""

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

from benchmarks.plot import panels
from tests.support.files import models_file
from tests.support.receiver import Receiver
from tests.support.server import ROOT, Server, ServerWithoutGpu

#: Rounds of requests a second, each with one job; fewer if the box is too busy for that.
RATE = 2.0
SAMPLE_EVERY_S = 10.0
#: Rounds of the first minutes are not counted: caches fill and the allocator finds its size.
SETTLED = 0.2
#: How much more than in the first third of what is counted there may be in the last.
FLAT = 1.05


def main() -> None:
    minutes = float(os.environ.get("SOAK_MINUTES", "60"))
    tiny = os.environ.get("SOAK_MODEL") == "tiny"
    with TemporaryDirectory(prefix="backlot-soak-") as folder, _server(Path(folder), tiny) as server:
        samples, jobs = _soak(server, minutes * 60, tiny)
    model = "a tiny pipeline" if tiny else "a fake GPU process"
    title = f"{jobs} jobs in {minutes:g} minutes, {jobs / minutes / 60:.1f} a second, with {model}"
    plot = ROOT / "docs" / f"soak{'-tiny' if tiny else ''}.svg"
    plot.write_text(panels(title, samples))
    print(title)
    for name, values in samples.items():
        counted = values[int(len(values) * SETTLED) :]
        third = max(1, len(counted) // 3)
        before, after = (statistics.median(y for _, y in part) for part in (counted[:third], counted[-third:]))
        verdict = "flat" if after <= before * FLAT else "GROWS"
        print(f"{name:32} {before:10.1f} → {after:10.1f}   {verdict}")
    print(f"The plot is {plot.relative_to(ROOT)}")


@contextmanager
def _server(folder: Path, tiny: bool) -> Iterator[Server]:
    environment = {"BACKLOT_LOG_LEVEL": "WARNING", "BACKLOT_DISK_FREE_GIB": "0"}
    if tiny:
        from tests.support.tiny import unet_pipeline

        model = folder / "model"
        unet_pipeline().save_pretrained(model, safe_serialization=True)
        toml = models_file(folder / "models.toml", {"tiny": model})
        server: Server = Server(folder / "data", toml, OMP_NUM_THREADS="1", **environment)
    else:
        server = ServerWithoutGpu(folder, **environment)
    server.start(wait_ready=tiny)
    receiver = Receiver(200)
    try:
        server.backlot("clients", "grant", "studio", "10000000")
        server.backlot("webhooks", "set", "studio", receiver.url)
        yield server
    finally:
        server.stop()
        receiver.stop()


def _soak(server: Server, seconds: float, tiny: bool) -> tuple[dict[str, list[tuple[float, float]]], int]:
    """Load the server; return what was sampled, as minutes and values by name, and the number of jobs."""
    samples: dict[str, list[tuple[float, float]]] = {}
    ended = threading.Event()
    began = time.monotonic()
    jobs = 0

    def sample() -> None:
        while not ended.wait(SAMPLE_EVERY_S):
            minute = (time.monotonic() - began) / 60
            for name, value in _measured(server, jobs, tiny).items():
                samples.setdefault(name, []).append((minute, value))

    sampling = threading.Thread(target=sample)
    sampling.start()
    try:
        while (now := time.monotonic() - began) < seconds:
            _round(server, jobs)
            jobs += 1
            time.sleep(max(0.0, jobs / RATE - now))
    finally:
        ended.set()
        sampling.join()
    return samples, jobs


def _round(server: Server, number: int) -> None:
    """Do what clients do with one job: submit, follow, look around; some cancel, and some go away."""
    cancelled = number % 5 == 4
    job = server.submit(seed=number, scene_type="endless" if cancelled else "marble")
    if cancelled:
        # With the tiny pipeline it may have ended before.
        server.client.post(f"/v1/jobs/{job}/cancel")
    with server.client.stream("GET", f"/v1/jobs/{job}/events", headers=_STREAM) as stream:
        # A client that goes away after the first event.
        next(stream.iter_raw())
    found = server.client.get(f"/v1/jobs/{job}", params={"wait": 10}).json()
    if number % 10 == 0:
        for path in ("/v1/jobs", "/v1/catalog/backgrounds", "/v1/credits", "/v1/usage", "/metrics", "/readyz"):
            server.client.get(path)
        server.client.get("/v1/nothing", headers={"Authorization": "Bearer sk_live_wrong"})
        for artifact in found["result"]:
            httpx.get(artifact["image_url"])


_STREAM = {"Accept": "text/event-stream"}


def _measured(server: Server, jobs: int, tiny: bool) -> dict[str, float]:
    process = psutil.Process(server.process.pid)
    database = sum(path.stat().st_size for path in server.data.glob("backlot.db*"))
    found = {
        "memory of the server, MiB": process.memory_full_info().uss / 2**20,
        "descriptors of the server": process.num_fds(),
        "threads of the server": process.num_threads(),
        "database, KiB a job": database / 1024 / max(1, jobs),
    }
    if tiny:
        gpu_process = psutil.Process(server.gpu_process())
        found["memory of the GPU process, MiB"] = gpu_process.memory_full_info().uss / 2**20
        found["descriptors of the GPU process"] = gpu_process.num_fds()
    return found
