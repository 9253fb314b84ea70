"""Another program keeps the database's write lock: nothing waits long, nothing is charged, nothing happens later."""

import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from server.ledger.database import PATIENCE_S
from tests.support.faults import locked
from tests.support.server import ROOT, SPEC, ServerWithoutGpu, wait_for


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/background-generator", SPEC),
        ("/v1/image-generation", {"prompt": "marble", "n": 2}),
        ("/v1/images/generations", {"prompt": "marble"}),
    ],
)
def test_a_write_is_busy_within_five_seconds_and_never_happens(
    light_server: ServerWithoutGpu, path: str, body: dict[str, object]
) -> None:
    before = light_server.credits()
    jobs = light_server.client.get("/v1/jobs", params={"limit": 200}).json()["count"]
    key = {"Idempotency-Key": f"locked {path}".replace(" ", "-")}
    with locked(light_server.data / "backlot.db"):
        began = time.monotonic()
        refused = light_server.client.post(path, json=body, headers=key)
        assert time.monotonic() - began < 5
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "BUSY")
        assert int(refused.headers["Retry-After"]) >= 1
    # Writes keep their order and a later one is on disk, so the refused one will not be written.
    accepted = light_server.client.post(path, json=body, headers=key)
    assert accepted.status_code in (200, 202)
    cost = 10 if "n" in body else 5
    assert light_server.credits()["spent"] == before["spent"] + cost
    assert light_server.client.get("/v1/jobs", params={"limit": 200}).json()["count"] == jobs + 1


def test_every_other_write_is_busy_too(light_server: ServerWithoutGpu) -> None:
    key = light_server.backlot(
        "keys", "add", "studio", *(f"--capability={name}" for name in ("admin", "jobs:create", "jobs:read"))
    ).stdout.strip()
    light_server.finished(light_server.submit())
    failed = light_server.submit(scene_type="endless")
    light_server.client.post(f"/v1/jobs/{failed}/cancel")
    light_server.finished(failed)
    entry = light_server.client.get("/v1/catalog/backgrounds").json()[0]["public_id"]
    writes: list[tuple[str, str, object]] = [
        ("PATCH", f"/v1/catalog/backgrounds/{entry}", {"favourite": True}),
        ("DELETE", f"/v1/catalog/backgrounds/{entry}", None),
        ("POST", f"/v1/jobs/{failed}/retry", None),
        ("POST", "/v1/admin/queue/pause", None),
        ("POST", "/v1/admin/queue/resume", None),
        ("POST", "/v1/admin/clients", {"name": "busy", "credits": 5}),
        ("POST", "/v1/admin/clients/studio/grants", {"credits": 5, "note": "busy"}),
        ("POST", "/v1/admin/keys", {"client": "studio"}),
    ]
    before = light_server.credits()
    with (
        locked(light_server.data / "backlot.db"),
        light_server.client_of(key) as client,
        ThreadPoolExecutor(len(writes)) as threads,
    ):
        began = time.monotonic()
        answers = list(threads.map(lambda write: client.request(write[0], write[1], json=write[2]), writes))
        assert time.monotonic() - began < 5
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [(503, "BUSY")] * len(writes)
    assert light_server.credits() == before
    assert light_server.client.get(f"/v1/catalog/backgrounds/{entry}").json()["favourite"] is False
    assert "busy" not in light_server.backlot("clients", "list").stdout


def test_reads_do_not_wait_and_their_rows_come_later(light_server: ServerWithoutGpu) -> None:
    with locked(light_server.data / "backlot.db"):
        ids = []
        for _ in range(20):
            for path in ("/v1/credits", "/v1/jobs", "/v1/catalog/backgrounds", "/v1/usage"):
                response = light_server.client.get(path)
                assert response.status_code == 200
                assert response.elapsed.total_seconds() < PATIENCE_S, "it waited for its row"
                ids.append(response.headers["X-Request-Id"])
            assert httpx.get(f"{light_server.url}/v1/jobs").status_code == 401
        wait_for(lambda: light_server.client.get("/readyz").status_code == 503)
        assert "write lock" in light_server.client.get("/readyz").json()["reason"]
    wait_for(lambda: light_server.client.get("/readyz").status_code == 200)
    shown = light_server.backlot("requests", "--limit", "200", "--json").stdout
    assert all(request_id in shown for request_id in ids)


def test_a_flood_of_reads_is_not_kept_in_memory_while_locked(light_server: ServerWithoutGpu) -> None:
    def dropped() -> float:
        lines = light_server.client.get("/metrics").text.splitlines()
        name = 'backlot_requests_without_row_total{why="database"}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = dropped()
    with locked(light_server.data / "backlot.db"):
        for _ in range(1050):
            assert light_server.client.get("/v1/operations").status_code == 200
        assert dropped() - before >= 50


def test_a_job_that_ends_while_locked_is_settled_once_it_is_not(light_server: ServerWithoutGpu) -> None:
    before = light_server.credits()["balance"]
    job_id = light_server.submit(scene_type="endless")
    wait_for(lambda: light_server.job(job_id)["status"] == "IN_PROGRESS")

    def cancel() -> httpx.Response:
        return light_server.client.post(f"/v1/jobs/{job_id}/cancel")

    with ThreadPoolExecutor() as pool:
        with locked(light_server.data / "backlot.db"):
            # Clients try again, as Retry-After says.
            for _ in range(2):
                began = time.monotonic()
                answer = cancel()
                assert time.monotonic() - began < 5
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "BUSY")
                assert int(answer.headers["Retry-After"]) > 0
            waiting = pool.submit(cancel)
            time.sleep(0.5)
        # The call waited for the job's end, which came when the lock was gone.
        assert waiting.result().status_code == 200
        assert waiting.result().json()["latest_event"]["extra"]["reason"] == "cancelled"
    assert light_server.finished(job_id)["latest_event"]["extra"]["refunded"] == 5
    assert light_server.credits()["balance"] == before


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_cancel_holds_if_the_server_ends_before_the_lock(tmp_path: Path, how: signal.Signals) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    job_id = server.submit(scene_type="endless")
    wait_for(lambda: server.job(job_id)["status"] == "IN_PROGRESS")
    with locked(server.data / "backlot.db"):
        assert server.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 503
        server.stop(how)
        # A server that starts under the lock knows of the cancellation too.
        server.start(wait_ready=False)
        server.client = server.client_of(server.key)
        assert server.client.post("/v1/background-generator", json=SPEC).status_code == 503
    try:
        assert server.finished(job_id)["latest_event"]["extra"]["reason"] == "cancelled"
        assert server.credits() == {"balance": 1000, "granted": 1000, "spent": 5, "refunded": 5}
        wait_for(lambda: not (server.data / "cancelled.txt").exists())
    finally:
        server.stop()


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/admin/jobs"])
def test_a_cancel_of_a_job_that_runs_on_holds_over_a_kill(tmp_path: Path, path: str) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    job_id = server.submit(scene_type="endless and deaf")
    wait_for(lambda: server.job(job_id)["status"] == "IN_PROGRESS")
    made = server.backlot("keys", "add", "studio", "--capability", "admin", "--capability", "jobs:create")
    answer = server.client_of(made.stdout.strip()).post(f"{path}/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "IN_PROGRESS")
    server.stop(signal.SIGKILL)
    server.start(wait_ready=False)
    try:
        assert server.finished(job_id)["latest_event"]["extra"]["reason"] == "cancelled"
        assert server.credits()["refunded"] == 5
    finally:
        server.stop()


def test_a_database_that_was_replaced_takes_no_credits(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    try:
        assert server.credits()["balance"] == 1000
        database = server.data / "backlot.db"
        database.rename(tmp_path / "elsewhere.db")
        refused = server.client.post("/v1/background-generator", json=SPEC)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "DATABASE_MISSING")
        assert "removed or replaced" in server.client.get("/readyz").json()["reason"]
        (tmp_path / "elsewhere.db").rename(database)
        server.finished(server.submit())
        assert server.credits()["spent"] == 5
        assert "Traceback" not in (server.data / "logs" / "server.log").read_text()
    finally:
        server.stop()


def test_a_stop_does_not_wait_for_the_lock_for_ever(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    with locked(server.data / "backlot.db"):
        assert server.client.get("/v1/credits").status_code == 200
        server.stop()
    log = (server.data / "logs" / "server.log").read_text()
    # The one write is the row of that request.
    assert "1 writes were given up" in log
    assert "1 writes failed after the event loop had ended: another program has the write lock" in log
    assert "1 writes were finished" not in log


def test_a_start_waits_for_no_lock_that_it_does_not_need(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    waiting = server.submit(scene_type="endless")
    server.stop()
    with locked(server.data / "backlot.db"):
        server.start(wait_ready=False)
        server.client = server.client_of(server.key)
        assert server.job(waiting)["status"] == "NOT_STARTED"
        assert server.client.post("/v1/background-generator", json=SPEC).status_code == 503
    wait_for(lambda: server.job(waiting)["status"] == "IN_PROGRESS")
    server.stop()


def test_a_first_start_says_that_the_database_is_locked(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.data.mkdir()
    sqlite3.connect(server.data / "backlot.db").close()
    with locked(server.data / "backlot.db"):
        started = subprocess.run(
            [sys.executable, "-m", server.module], cwd=ROOT, env=server.environment, capture_output=True, text=True
        )
    assert started.returncode == 1
    (line,) = started.stderr.strip().splitlines()
    assert str(server.data / "backlot.db") in line
    assert "end that program" in line
