"""Compares Backlot, LitServe and Ray Serve with the same pipeline folder, on the same open-loop Poisson trace.

Capacity is images a second with everything asked for at once. Then requests arrive at random moments, whether or not
earlier ones are done, at 70 % of the best capacity of the others; latency is from the planned arrival to the whole PNG. A
server whose capacity is less than that would only fall behind, and is left out. Each round is another trace; the figure
is the median of the rounds, since one trace has few bursts.
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
from contextlib import contextmanager, suppress
from itertools import accumulate
from typing import Any

import httpx
import msgspec

from benchmarks.server import SPEC, fresh_server, succeeded
from tests.support.server import ROOT

BATCH = 4
AT_ONCE = 24
ROUNDS = 3
REQUESTS = 80
LOAD = 0.7

#: Asks for the image of a seed, and returns when all of it has arrived.
Ask = Callable[[httpx.AsyncClient, int], Awaitable[None]]


class Latency(msgspec.Struct):
    p50: float
    p95: float


@contextmanager
def app(module: str, batch: int) -> Iterator[str]:
    """Run one of the other servers, and yield its address once it is ready."""
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
            if process.poll() is not None:
                command = f"python -m {module} {port} {batch}"
                raise RuntimeError(f"{module} ended with status {process.returncode}; `{command}` in scripts/ says why")
            try:
                if httpx.post(f"{url}/predict", json={"seed": 0}, timeout=120).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield url
    finally:
        # Kill all processes that it started too: those of LitServe would live on and disturb the next measurement.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def ask_predict(http: httpx.AsyncClient, seed: int) -> None:
    (await http.post("/predict", json={"seed": seed})).raise_for_status()


async def ask_backlot(http: httpx.AsyncClient, seed: int, fields: dict[str, Any] | None = None) -> None:
    spec = {**SPEC, **(fields or {}), "seed": seed}
    accepted = (await http.post("/v1/background-generator", json=spec)).raise_for_status().json()
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


OTHERS = {
    "LitServe, one at a time": ("benchmarks.lit_app", 1),
    f"LitServe, batches of {BATCH}": ("benchmarks.lit_app", BATCH),
    f"Ray Serve, batches of {BATCH}": ("benchmarks.ray_app", BATCH),
}


@contextmanager
def server_named(name: str) -> Iterator[tuple[str, dict[str, str], Ask]]:
    """Run a server; once it is ready, yield its address, the headers it wants and how to ask it."""
    if name in OTHERS:
        with app(*OTHERS[name]) as url:
            yield url, {}, ask_predict
        return
    with fresh_server() as server:
        server.wait_ready()
        # Do enough that every batch size is measured and its call is traced, as in a server that has been up for minutes.
        for together in (24, *(1, 2, 3) * 5):
            for job_id in [server.submit(**SPEC, seed=seed) for seed in range(together)]:
                succeeded(server, job_id)
        yield server.url, {"Authorization": f"Bearer {server.key}"}, ask_backlot


def main() -> None:
    capacities: dict[str, float] = {}
    for name in (*OTHERS, "Backlot"):
        with server_named(name) as (url, headers, ask):
            capacities[name] = asyncio.run(capacity(url, headers, ask))
        print(f"  {name}: {capacities[name]:.3f} images/s", flush=True)
    best = max(capacities[name] for name in OTHERS)
    rate = LOAD * best
    able = [name for name in OTHERS if capacities[name] > rate]
    ratios = []
    for seed in range(ROUNDS):
        arrivals = trace(rate, seed)
        found: dict[str, Latency] = {}
        for name in (*able, "Backlot"):
            with server_named(name) as (url, headers, ask):
                taken = asyncio.run(latencies(url, headers, ask, arrivals))
            found[name] = Latency(statistics.median(taken), statistics.quantiles(taken, n=20)[18])
            print(f"  {name}: latency p50 {found[name].p50:.2f} s, p95 {found[name].p95:.2f} s", flush=True)
        ratios.append(found["Backlot"].p95 / min(found[name].p95 for name in able))
        print(f"  round {seed + 1} of {ROUNDS}: p95 ÷ best of the others {ratios[-1]:.2f}", flush=True)
    print(f"throughput ÷ best of the others: {capacities['Backlot'] / best:.2f}")
    print(f"p95 at {LOAD:.0%} load ÷ best of the others: {statistics.median(ratios):.2f}")


def trace(rate: float, seed: int, requests: int = REQUESTS) -> list[float]:
    """Return random moments of arrival in seconds, on average `rate` a second."""
    rng = random.Random(seed)
    return list(accumulate(rng.expovariate(rate) for _ in range(requests)))
