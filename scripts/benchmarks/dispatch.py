"""Measures durable dispatches a second beside raw durable SQLite, and the latency of a dispatch, idle and saturated."""

import asyncio
import os
import signal
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import msgspec
from ulid import ULID

from benchmarks.server import SPEC, fresh_server
from server.jobs import Job, JobType
from server.keys import digest_of, new_client
from server.ledger import clients, jobs
from server.ledger import request_log as requests
from server.ledger.connection import connect, migrate, transaction
from server.models_file import load_models
from server.workflows.background import BACKGROUND_GENERATOR
from tests.support.server import ROOT, Server

COUNT = 8000
CONCURRENT = 64
LATENCIES = 1000


@contextmanager
def raw_ledger() -> Iterator[sqlite3.Connection]:
    """Yield a ledger in a file of its own, without a server, on the same disk and with the same settings."""
    with TemporaryDirectory(prefix="backlot-bench-") as folder:
        path = Path(folder) / "raw.db"
        migrate(path)
        connection = connect(path)
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)")
        yield connection
        connection.close()


def raw_rate() -> float:
    """Return how many durable transactions of one row can be written a second, one at a time."""
    with raw_ledger() as connection:
        started = time.perf_counter()
        for index in range(COUNT):
            with transaction(connection):
                connection.execute("INSERT INTO rows (text) VALUES (?)", (f"{index:0200}",))
        return COUNT / (time.perf_counter() - started)


def raw_dispatch_rate() -> float:
    """Return how many durable transactions of a dispatch's rows (job, charge, event, log) can be written a second."""
    models = load_models(ROOT / "models.toml")
    spec = BACKGROUND_GENERATOR.check(SPEC, models)
    with raw_ledger() as connection:
        with transaction(connection):
            key = new_client(connection, "bench", 100_000_000, test=False)
        caller = clients.caller(connection, digest_of(key))
        assert caller is not None
        job = Job(
            job_id="",
            client_id=caller.client_id,
            job_type=JobType.BACKGROUND_GENERATOR,
            request=msgspec.to_builtins(spec),
            plan=BACKGROUND_GENERATOR.resolve(spec, models),
            credits_cost=5,
        )
        started = time.perf_counter()
        for _ in range(COUNT):
            row = requests.RequestRow(
                id=str(ULID()),
                client_id=caller.client_id,
                key_id=caller.key_id,
                method="POST",
                route="/v1/background-generator",
                status=202,
                error_code=None,
                job_id=None,
                credits=5,
                duration_ms=1.0,
                remote="127.0.0.1",
                user_agent="bench",
            )
            made = msgspec.structs.replace(job, job_id=str(ULID()))
            with transaction(connection):
                jobs.add(connection, made, "Background generator", row, None)
        return COUNT / (time.perf_counter() - started)


async def dispatch_rate(server: Server) -> float:
    """Return how many requests the server accepts a second, over many connections at once.

    The requests are bytes made beforehand: an HTTP library would take more of the cores than the server does.
    """
    address = urlsplit(server.url)
    body = msgspec.json.encode(SPEC)
    head = (
        f"POST /v1/background-generator HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {server.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    left = iter(range(COUNT))

    async def work() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for _ in left:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            status, *fields = answer.lower().split(b"\r\n")
            if status != b"http/1.1 202 accepted":
                raise RuntimeError(answer.decode())
            length = next(field.split(b":")[1] for field in fields if field.startswith(b"content-length:"))
            await reader.readexactly(int(length))
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONCURRENT)))
    return COUNT / (time.perf_counter() - started)


def latencies(server: Server, between_s: float) -> list[float]:
    """Return the seconds of single dispatches, one after another; each is cancelled at once."""
    found = []
    for _ in range(LATENCIES):
        started = time.perf_counter()
        job_id = server.submit(**SPEC)
        found.append(time.perf_counter() - started)
        server.client.post(f"/v1/jobs/{job_id}/cancel")
        time.sleep(between_s)
    return found


def main() -> None:
    rows, same, rates = [], [], []
    for _ in range(5):
        rows.append(raw_rate())
        same.append(raw_dispatch_rate())
        with fresh_server() as server:
            # This is about the ledger, so the GPU process keeps away from the cores.
            os.kill(server.gpu_process(), signal.SIGSTOP)
            rates.append(asyncio.run(dispatch_rate(server)))
        print(
            f"  raw SQLite, transactions/s: {rows[-1]:.0f} of one row, {same[-1]:.0f} of a dispatch's rows;"
            f" dispatches through HTTP: {rates[-1]:.0f}/s",
            flush=True,
        )
    for name, raws in (("one-row", rows), ("dispatch-sized", same)):
        ratio = statistics.median(rate / raw for rate, raw in zip(rates, raws, strict=True))
        print(f"dispatches/s ÷ raw durable {name} transactions/s: {ratio:.2f} (median of 5; {CONCURRENT} connections)")
    with fresh_server() as server:
        server.wait_ready()
        waiting = latencies(server, 0.02)
        busy = [server.submit(**SPEC, seed=seed) for seed in range(500)]
        saturated = latencies(server, 0.02)
        for job_id in busy:
            server.client.post(f"/v1/jobs/{job_id}/cancel")
    for name, found in (("idle", waiting), ("saturated", saturated)):
        print(f"  {name}: median {statistics.median(found) * 1e3:.1f} ms, p99 {_p99(found) * 1e3:.1f} ms")
    print(f"p99 saturated ÷ idle: {_p99(saturated) / _p99(waiting):.2f}")


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
