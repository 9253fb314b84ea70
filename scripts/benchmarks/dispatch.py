"""Accepted durable dispatches a second beside raw durable SQLite; the latency of a dispatch, idle and saturated."""

import asyncio
import sqlite3
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.server import SPEC, Server

COUNT = 2000
CONCURRENT = 64
LATENCIES = 300


def raw_rate() -> float:
    """Durable one-row transactions a second, one at a time, on the same disk with the same settings."""
    with TemporaryDirectory(prefix="backlot-bench-") as folder:
        connection = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)")
        started = time.perf_counter()
        for index in range(COUNT):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO rows (text) VALUES (?)", (f"{index:0200}",))
            connection.execute("COMMIT")
        rate = COUNT / (time.perf_counter() - started)
        connection.close()
    return rate


async def dispatch_rate(server: Server) -> float:
    """Accepted requests a second with many clients at once."""
    limits = httpx.Limits(max_connections=CONCURRENT)
    async with httpx.AsyncClient(base_url=server.url, headers=server.headers, timeout=60, limits=limits) as http:
        left = iter(range(COUNT))

        async def work() -> None:
            for _ in left:
                response = await http.post("/v1/background-generator", json=SPEC)
                response.raise_for_status()

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONCURRENT)))
        return COUNT / (time.perf_counter() - started)


def latencies(server: Server, between_s: float) -> list[float]:
    """Seconds of single dispatches, one after another; each is cancelled at once."""
    found = []
    for _ in range(LATENCIES):
        started = time.perf_counter()
        job_id = server.submit()
        found.append(time.perf_counter() - started)
        server.http.post(f"/v1/jobs/{job_id}/cancel")
        time.sleep(between_s)
    return found


def main() -> None:
    raws, rates = [], []
    for _ in range(3):
        raws.append(raw_rate())
        with Server() as server:
            # This is about the ledger, so the GPU process keeps away from the cores.
            server.pause_gpu_process()
            rates.append(asyncio.run(dispatch_rate(server)))
        print(f"  raw SQLite {raws[-1]:.0f} transactions/s, dispatches {rates[-1]:.0f}/s", flush=True)
    ratio = statistics.median(rate / raw for rate, raw in zip(rates, raws, strict=True))
    print(f"dispatches/s ÷ raw durable transactions/s: {ratio:.2f} (median of 3; {CONCURRENT} connections)")
    with Server() as server:
        server.ready()
        waiting = latencies(server, 0.02)
        busy = [server.submit(seed=seed) for seed in range(500)]
        saturated = latencies(server, 0.02)
        for job_id in busy:
            server.http.post(f"/v1/jobs/{job_id}/cancel")
    for name, found in (("idle", waiting), ("saturated", saturated)):
        print(f"  {name}: median {statistics.median(found) * 1e3:.1f} ms, p99 {_p99(found) * 1e3:.1f} ms")
    print(f"p99 saturated ÷ idle: {_p99(saturated) / _p99(waiting):.2f}")


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
