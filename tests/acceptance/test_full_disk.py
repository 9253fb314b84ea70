"""A disk that really fills up: nothing is charged for images that cannot be made, and what was charged is given back."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import SPEC, ServerWithoutGpu, wait_for
from tests.support.small_disk import fill, free, small_disk

MIB = 1 << 20
#: The value of BACKLOT_DISK_FREE_GIB, in bytes.
LEAST = 32 * MIB


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerWithoutGpu]:
    """Yield a server on a disk of 128 MiB."""
    with small_disk(tmp_path / "disk", 128) as disk:
        server = ServerWithoutGpu(disk, BACKLOT_DISK_FREE_GIB=f"{LEAST / 1024 / MIB}")
        server.start()
        yield server
        server.stop()


def post(server: ServerWithoutGpu, **headers: str) -> tuple[int, str]:
    answer = server.client.post("/v1/background-generator", json=SPEC, headers=headers)
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def readiness(server: ServerWithoutGpu) -> tuple[int, Any]:
    answer = server.client.get("/readyz")
    return answer.status_code, answer.json()["reason"]


def request_rows(server: ServerWithoutGpu) -> int:
    with sqlite3.connect(server.data / "backlot.db") as connection:
        return int(connection.execute("SELECT count(*) FROM request_logs").fetchone()[0])


def log_lines(server: ServerWithoutGpu, words: str) -> int:
    return (server.data / "logs" / "server.log").read_text().count(words)


def test_with_too_little_room_nothing_is_accepted(server: ServerWithoutGpu) -> None:
    first = server.client.post("/v1/background-generator", json=SPEC, headers={"Idempotency-Key": "k"}).json()
    server.finished(first["job_id"])
    filler = fill(server.data.parent, leave=LEAST // 2)
    for _ in range(20):
        assert post(server) == (503, "DISK_FULL")
    assert server.client.post("/v1/background-generator?dry_run=true", json=SPEC).status_code == 503
    openai = server.client.post("/v1/images/generations", json={"prompt": "marble"})
    assert (openai.status_code, openai.json()["error"]["code"]) == (503, "DISK_FULL")
    assert int(openai.headers["retry-after"]) > 0
    status, reason = readiness(server)
    assert status == 503
    assert "BACKLOT_DISK_FREE_GIB" in reason
    # Existing images can be read and removed, and a repeated request gets its first answer.
    again = server.client.post("/v1/background-generator", json=SPEC, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (202, first)
    [entry] = server.client.get("/v1/catalog/backgrounds").json()
    assert server.client.delete(f"/v1/catalog/backgrounds/{entry['public_id']}").status_code == 204
    assert server.credits()["spent"] == 5
    filler.unlink()
    assert post(server) == (202, "")
    assert readiness(server) == (200, None)
    assert log_lines(server, "No new job is accepted") == log_lines(server, "jobs are accepted") == 1
    assert log_lines(server, "Traceback") == 0


def test_a_refund_finds_room_on_a_full_disk(server: ServerWithoutGpu) -> None:
    jobs = [server.submit(scene_type="endless") for _ in range(4)]
    wait_for(lambda: server.job(jobs[0])["status"] == "IN_PROGRESS")
    filler = fill(server.data.parent)
    # The ledger first fills the free pages that it has; then it needs the reserve.
    for _ in range(200):
        server.client.get("/v1/credits", headers={"User-Agent": "x" * 200})
    assert log_lines(server, "kept for refunds are free") == 1
    # The reserve is not for the request log.
    rows = request_rows(server)
    for _ in range(3):
        assert server.client.get("/v1/credits").status_code == 200
        assert post(server) == (503, "DISK_FULL")
    assert request_rows(server) == rows
    for job in jobs:
        ended = server.client.post(f"/v1/jobs/{job}/cancel").json()
        assert (ended["status"], ended["latest_event"]["extra"]["refunded"]) == ("FAILURE", 5)
    totals = server.credits()
    assert (totals["spent"], totals["refunded"]) == (20, 20)
    assert post(server) == (503, "DISK_FULL")
    assert readiness(server)[0] == 503
    filler.unlink()
    wait_for(lambda: readiness(server)[0] == 200)
    assert (server.data / "reserve").stat().st_size == 16 * MIB
    server.finished(server.submit())
    assert log_lines(server, "Traceback") == 0


def test_the_reserve_is_used_only_once_the_disk_is_full(server: ServerWithoutGpu) -> None:
    reserve = server.data / "reserve"
    assert reserve.stat().st_blocks * 512 >= 16 * MIB
    before = free(server.data)
    server.finished(server.submit())
    assert reserve.is_file()
    assert before - free(server.data) < 8 * MIB


def test_unfinished_files_make_room(server: ServerWithoutGpu) -> None:
    job_id = server.finished(server.submit())["public_id"]
    cut_short = server.data / "images" / job_id[-2:] / f"{job_id}.partial"
    cut_short.write_bytes(b"x" * LEAST)
    fill(server.data.parent, leave=LEAST // 2)
    assert post(server) == (503, "DISK_FULL")
    wait_for(lambda: not cut_short.exists())
    wait_for(lambda: post(server) == (202, ""))
