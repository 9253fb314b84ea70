"""Measures whether a server's memory, descriptors, threads and database stay flat under steady load for an hour.

The rule: the first quarter of the time is not judged, since SQLite's caches fill then: 2 MiB of pages for the connection
that writes, and 0.5 to 1.5 MiB for each that reads. The median of a figure in the second half of the time may be at most 2 %
above that in the second quarter; else the figure GROWS, and the status is 1.

Memory is what the process alone has written, in memory or swap. Pages of libraries are not counted: whether they are its own
depends on what other programs have mapped. The plot is written to docs/soak.svg, or to docs/soak-tiny.svg.
"""

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
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
#: The median of the second half may be at most this many times that of the second quarter.
FLAT = 1.02

#: The measurements, as minutes and value.
Samples = Sequence[tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="./scripts/bench soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, metavar="60")
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="take a GPU process with a tiny pipeline in place of the fake one, and measure it too",
    )
    options = parser.parse_args()
    minutes, tiny = options.minutes, options.tiny
    if minutes < 2:
        parser.error("each quarter needs some samples: take 2 minutes or more")
    with TemporaryDirectory(prefix="backlot-soak-") as folder, _server(Path(folder), tiny) as server:
        samples, jobs = _soak(server, minutes * 60, tiny)
    model = "a tiny pipeline" if tiny else "a fake GPU process"
    title = f"{jobs} jobs in {minutes:g} minutes, {jobs / minutes / 60:.1f} a second, with {model}"
    plot = ROOT / "docs" / f"soak{'-tiny' if tiny else ''}.svg"
    plot.write_text(panels(title, samples))
    print(title)
    print(f"{'median':36} {'1st':>10} {'2nd quarter':>12} {'2nd half':>10}")
    grows = False
    for name, values in samples.items():
        first, before, after = (_median(values, minutes, *part) for part in ((0, 0.25), (0.25, 0.5), (0.5, 1)))
        is_flat = after <= before * FLAT
        grows = grows or not is_flat
        print(f"{name:36} {first:10.1f} {before:12.1f} {after:10.1f}   {'flat' if is_flat else 'GROWS'}")
    print(f"The plot is {plot.relative_to(ROOT)}")
    sys.exit(grows)


def _median(values: Samples, minutes: float, since: float, until: float) -> float:
    """Return the median of a part of the time; `since` and `until` are parts of the whole, 0–1."""
    return statistics.median(y for x, y in values if since * minutes <= x < until * minutes)


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
    """Load the server; return the samples by name, and the number of jobs."""
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
    """Do what clients do with one job: submit it, follow it and go away; some cancel it, and some look around."""
    cancelled = number % 5 == 4
    job = server.submit(seed=number, scene_type="endless" if cancelled else "marble")
    if cancelled:
        # With the tiny pipeline the job may have ended before.
        server.client.post(f"/v1/jobs/{job}/cancel")
    with server.client.stream("GET", f"/v1/jobs/{job}/events", headers=_STREAM) as stream:
        # The client goes away after the first event.
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
        "memory of the server, MiB": _written_mib(process.pid),
        "descriptors of the server": process.num_fds(),
        "threads of the server": process.num_threads(),
        "database, KiB a job": database / 1024 / max(1, jobs),
    }
    if tiny:
        gpu_process = psutil.Process(server.gpu_process())
        found["memory of the GPU process, MiB"] = _written_mib(gpu_process.pid)
        found["descriptors of the GPU process"] = gpu_process.num_fds()
    return found


def _written_mib(pid: int) -> float:
    """Return the MiB in memory and swap that a process alone has written. https://docs.kernel.org/filesystems/proc.html"""
    fields = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return sum(int(size) for name, size, _ in fields if name in ("Private_Dirty:", "Swap:")) / 1024
