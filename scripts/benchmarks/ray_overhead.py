"""What Ray adds to an image: the same server with a GPU process of its own, and with one in a Ray actor, by turns.

Both servers are up all the time and only one of them generates, so both see the same machine.
"""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.server import SPEC
from tests.support.ray_cluster import RayCluster
from tests.support.server import Server

PAIRS = 15
THREADS = "2"


def seconds(server: Server, seed: int) -> float:
    """Return the time from the submission of one image to its end on disk."""
    started = time.perf_counter()
    job_id = str(server.client.post("/v1/background-generator", json={**SPEC, "seed": seed}).json()["job_id"])
    job = server.client.get(f"/v1/jobs/{job_id}", params={"wait": 60}).json()
    if job["status"] != "SUCCESS":
        raise RuntimeError(f"job {job_id} failed: {job['latest_event']}")
    return time.perf_counter() - started


def main() -> None:
    with TemporaryDirectory(prefix="backlot-bench-") as name, RayCluster() as cluster:
        cluster.add("one")
        servers = {
            "local pool": Server(Path(name) / "local", BACKLOT_DEVICES="cpu", OMP_NUM_THREADS=THREADS),
            "Ray": Server(Path(name) / "ray", BACKLOT_RAY=cluster.address, OMP_NUM_THREADS=THREADS),
        }
        try:
            for server in servers.values():
                server.start(wait_ready=False)
            for server in servers.values():
                server.wait_ready()
                # The first image of a process takes longer than all others.
                seconds(server, 0)
            times: dict[str, list[float]] = {kind: [] for kind in servers}
            for seed in range(PAIRS):
                for kind, server in servers.items():
                    times[kind].append(seconds(server, seed))
        finally:
            for server in servers.values():
                server.stop()
    for kind, found in times.items():
        print(f"{kind:12}{statistics.median(found):7.3f} s an image, median of {PAIRS}")
    pairs = [with_ray - local for local, with_ray in zip(times["local pool"], times["Ray"], strict=True)]
    local = statistics.median(times["local pool"])
    print(f"{'added':12}{statistics.median(pairs):7.3f} s, {statistics.median(pairs) / local:.1%} of an image")
