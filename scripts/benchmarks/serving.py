"""The same pipeline folder behind Backlot, LitServe and Ray Serve, on the same open-loop Poisson trace.

Capacity is images a second with everything asked for at once. Then requests arrive at random moments at 70 % of the best
of the others' capacity, whether or not earlier ones are done; latency is from the planned arrival to the whole PNG.
"""

import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import httpx
import msgspec

from benchmarks.server import ROOT, SPEC, Server

BATCH = 4
AT_ONCE = 24
REQUESTS = 80
LOAD = 0.7

#: Asks for the image of a seed and has all of it when it returns.
Ask = Callable[[httpx.AsyncClient, int], Awaitable[None]]


class Figures(msgspec.Struct):
    capacity: float = 0.0
    p50: float = 0.0
    p95: float = 0.0


@contextmanager
def app(module: str, batch: int) -> Iterator[str]:
    """One of the other servers, ready; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(port), str(batch)],
        cwd=ROOT / "scripts",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                if httpx.post(f"{url}/predict", json={"seed": 0}, timeout=120).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield url
    finally:
        # With all processes it started; those of LitServe would outlive it and take part in the next measurement.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def ask_predict(http: httpx.AsyncClient, seed: int) -> None:
    (await http.post("/predict", json={"seed": seed})).raise_for_status()


async def ask_backlot(http: httpx.AsyncClient, seed: int) -> None:
    accepted = (await http.post("/v1/background-generator", json={**SPEC, "seed": seed})).raise_for_status().json()
    path = f"/v1/jobs/{accepted['job_id']}/events"
    async with http.stream("GET", path, headers={"Accept": "text/event-stream"}) as stream:
        event = ""
        async for line in stream.raise_for_status().aiter_lines():
            if line.startswith("event:"):
                event = line.removeprefix("event:").strip()
            if line.startswith("data:") and event == "succeeded":
                url = json.loads(line.removeprefix("data:"))["artifacts"][0]["image_url"]
    (await http.get(url)).raise_for_status()


async def capacity(url: str, headers: dict[str, str], ask: Ask) -> float:
    async with _client(url, headers) as http:
        started = time.perf_counter()
        await asyncio.gather(*(ask(http, seed) for seed in range(AT_ONCE)))
        return AT_ONCE / (time.perf_counter() - started)


async def latencies(url: str, headers: dict[str, str], ask: Ask, arrivals: list[float]) -> list[float]:
    async with _client(url, headers) as http:
        began = time.perf_counter()

        async def one(seed: int, moment: float) -> float:
            await asyncio.sleep(max(0.0, began + moment - time.perf_counter()))
            await ask(http, seed)
            return time.perf_counter() - began - moment

        return await asyncio.gather(*(one(seed, moment) for seed, moment in enumerate(arrivals)))


def _client(url: str, headers: dict[str, str]) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=1000)
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=600, limits=limits)


@contextmanager
def backlot() -> Iterator[Server]:
    with Server() as server:
        server.ready()
        # Enough for every batch shape to be measured once.
        for job_id in [server.submit(seed=seed) for seed in range(24)]:
            server.finish(job_id)
        yield server


OTHERS = {
    "LitServe, one at a time": ("benchmarks.lit_app", 1),
    f"LitServe, batches of {BATCH}": ("benchmarks.lit_app", BATCH),
    f"Ray Serve, batches of {BATCH}": ("benchmarks.ray_app", BATCH),
}


def main() -> None:
    figures = {name: Figures() for name in (*OTHERS, "Backlot")}
    for name, (module, batch) in OTHERS.items():
        with app(module, batch) as url:
            figures[name].capacity = asyncio.run(capacity(url, {}, ask_predict))
            print(f"  {name}: {figures[name].capacity:.3f} images/s", flush=True)
    with backlot() as server:
        figures["Backlot"].capacity = asyncio.run(capacity(server.url, server.headers, ask_backlot))
        print(f"  Backlot: {figures['Backlot'].capacity:.3f} images/s", flush=True)

    best = max(figures[name].capacity for name in OTHERS)
    rng = random.Random(0)
    arrivals, moment = [], 0.0
    for _ in range(REQUESTS):
        moment += rng.expovariate(LOAD * best)
        arrivals.append(moment)
    for name, (module, batch) in OTHERS.items():
        with app(module, batch) as url:
            _note(figures[name], name, asyncio.run(latencies(url, {}, ask_predict, arrivals)))
    with backlot() as server:
        _note(figures["Backlot"], "Backlot", asyncio.run(latencies(server.url, server.headers, ask_backlot, arrivals)))
    others_p95 = min(figures[name].p95 for name in OTHERS)
    print(f"throughput ÷ best of the others: {figures['Backlot'].capacity / best:.2f}")
    print(f"p95 at {LOAD:.0%} load ÷ best of the others: {figures['Backlot'].p95 / others_p95:.2f}")


def _note(figures: Figures, name: str, found: list[float]) -> None:
    figures.p50, figures.p95 = statistics.median(found), statistics.quantiles(found, n=20)[18]
    print(f"  {name}: latency p50 {figures.p50:.2f} s, p95 {figures.p95:.2f} s", flush=True)
