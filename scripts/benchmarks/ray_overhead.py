"""Measures what Ray adds to an image: a server with a GPU process of its own and one with a Ray actor, by turns.

Both servers are up all the time and only one of them generates, so both see the same machine.
"""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.server import SPEC, succeeded
from tests.support.ray_cluster import RayCluster
from tests.support.server import Server

PAIRS = 15
#: One thread, so that other work on the machine disturbs neither side much.
THREADS = 1


def seconds(server: Server, seed: int) -> float:
    """Return the time from the submission of one image to its end on disk."""
    started = time.perf_counter()
    job_id = str(server.client.post("/v1/background-generator", json={**SPEC, "seed": seed}).json()["job_id"])
    succeeded(server, job_id)
    return time.perf_counter() - started


def main() -> None:
    with TemporaryDirectory(prefix="backlot-bench-") as name, RayCluster() as cluster:
        # Ray gives an actor as many threads as it lends it cores.
        cluster.add("one", cpus=THREADS)
        servers = {
            "local pool": Server(Path(name) / "local", BACKLOT_DEVICES="cpu", OMP_NUM_THREADS=str(THREADS)),
            "Ray": Server(Path(name) / "ray", BACKLOT_RAY=cluster.address),
        }
        try:
            for server in servers.values():
                server.start(wait_ready=False)
            for server in servers.values():
                server.wait_ready()
                # The first image of a process takes longer than all others.
                seconds(server, 0)
            devices = [server.client.get("/readyz").json()["devices"][0]["device_name"] for server in servers.values()]
            print(f"by turns on {' and '.join(devices)}")
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
