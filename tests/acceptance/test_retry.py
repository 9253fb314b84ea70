"""A failed job is tried again as a new job of the same spec."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import Server, ServerWithoutGpu, wait_for


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Yield a server of the test's own, since endless jobs keep its few slots."""
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    yield server
    server.stop()


def failed(server: Server, **spec: Any) -> str:
    job_id = server.submit(scene_type="endless", **spec)
    server.client.post(f"/v1/jobs/{job_id}/cancel")
    wait_for(lambda: server.job(job_id)["status"] == "FAILURE")
    return job_id


def retry(server: Server, job_id: str, **headers: str) -> httpx.Response:
    return server.client.post(f"/v1/jobs/{job_id}/retry", headers=headers)


def test_a_retry_is_a_new_job_of_the_same_spec_and_charged(server: Server) -> None:
    spec = {"seed": 7, "dominant_colors": ["navy"], "metadata": {"shot": "s010"}, "display_name": "Once more"}
    job_id = failed(server, **spec)
    before = server.credits()
    answer = retry(server, job_id)
    assert answer.status_code == 202
    accepted = answer.json()
    assert (accepted["status"], accepted["credits_cost"]) == ("NOT_STARTED", 5)
    assert accepted["job_id"] != job_id
    assert server.job(accepted["job_id"])["request"] == server.job(job_id)["request"]
    assert server.credits()["spent"] == before["spent"] + 5
    assert answer.headers["X-Request-Id"] == accepted["request_id"]
    assert accepted["request_id"] in server.backlot("requests", "--json").stdout


def test_a_dry_run_of_a_retry_makes_nothing(server: Server) -> None:
    job_id = failed(server)
    before = (server.credits(), server.client.get("/v1/jobs").json()["total"])
    answer = server.client.post(f"/v1/jobs/{job_id}/retry", params={"dry_run": "true"})
    assert (answer.status_code, answer.json()["credits_cost"]) == (200, 5)
    assert (server.credits(), server.client.get("/v1/jobs").json()["total"]) == before


def test_a_repeated_retry_is_one_job(server: Server) -> None:
    first, second = failed(server), failed(server)
    key = {"Idempotency-Key": "again"}
    answers = [retry(server, first, **key).json() for _ in range(2)]
    assert answers[0] == answers[1]
    other = retry(server, second, **key)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")


@pytest.mark.parametrize("body", [b'{"seed": 3}', b"seed=3"])
def test_a_retry_of_another_spec_is_refused_and_costs_nothing(server: Server, body: bytes) -> None:
    job_id = failed(server)
    before = server.credits()
    refused = server.client.post(f"/v1/jobs/{job_id}/retry", content=body)
    assert (refused.status_code, refused.json()["detail"][0]["type"]) == (422, "extra_forbidden")
    assert server.credits() == before
    assert server.client.post(f"/v1/jobs/{job_id}/retry", json={}).status_code == 202


def test_what_cannot_be_retried(server: Server) -> None:
    done = server.submit()
    server.finished(done)
    refused = retry(server, done)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "JOB_NOT_RETRYABLE")
    assert "SUCCESS" in refused.json()["error"]["message"]
    running = server.submit(scene_type="endless")
    assert retry(server, running).status_code == 409
    job_id = failed(server)
    stranger = server.new_client("stranger to retries")
    for unknown in (stranger.post(f"/v1/jobs/{job_id}/retry"), retry(server, "01ARZ3NDEKTSV4RRFFQ69G5FAV")):
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "JOB_NOT_FOUND")


def test_a_retry_has_the_errors_of_any_request(server: Server) -> None:
    job_id = failed(server)
    refused = retry(server, job_id, **{"Max-Credits": "4"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "PRICE_TOO_HIGH")
    poor = server.new_client("poor retrier", 5)
    own = server.submit(poor, scene_type="endless")
    poor.post(f"/v1/jobs/{own}/cancel")
    wait_for(lambda: server.job(own, poor)["status"] == "FAILURE")
    server.submit(poor)
    assert poor.post(f"/v1/jobs/{own}/retry").status_code == 402
