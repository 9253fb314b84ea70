"""The operator's routes: what they show, what they change, and that each change is logged with the key that made it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from server.clock import as_text
from tests.support.server import ServerWithoutGpu, wait_for


@pytest.fixture(scope="module")
def admin(light_server: ServerWithoutGpu) -> httpx.Client:
    made = light_server.backlot("keys", "add", "studio", "--capability", "admin", "--label", "the desk")
    return light_server.client_of(made.stdout.strip())


def post(admin: httpx.Client, path: str, status: int = 200, **body: Any) -> Any:
    answer = admin.post(f"/v1/admin/{path}", json=body or None)
    assert answer.status_code == status, answer.text
    return answer.json()


def get(admin: httpx.Client, path: str, **query: Any) -> Any:
    answer = admin.get(f"/v1/admin/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def key_hint(admin: httpx.Client) -> str:
    return admin.headers["Authorization"].removeprefix("Bearer ")[:14]


def logged(admin: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """Wait for the row of a request in the request log: a refused one's is written in the background."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        rows = get(admin, "requests", limit=200)["requests"]
        found.extend(row for row in rows if row["id"] == answer.headers["X-Request-Id"])
        return bool(found)

    wait_for(look)
    return found[0]


def test_devices_and_models(light_server: ServerWithoutGpu, admin: httpx.Client) -> None:
    light_server.wait_ready()
    (device,) = get(admin, "devices")["devices"]
    assert (device["name"], device["device_name"], device["state"]) == ("cpu", "a fake", "ready")
    assert [model["name"] for model in device["models"]] == ["fake"]
    assert post(admin, "models/fake/unload", 202)["name"] == "fake"
    wait_for(lambda: get(admin, "models")["models"][0]["state"] == "idle")
    assert get(admin, "devices")["devices"][0]["models"] == []
    # The server is still ready: the next job loads its model.
    ready = admin.get("/readyz")
    assert (ready.status_code, ready.json()["reason"], ready.json()["models"]) == (200, None, [])
    assert ready.json()["note"] == "no model is in memory; the next job loads the one that it names"
    post(admin, "models/fake/load", 202)
    wait_for(lambda: get(admin, "models")["models"][0]["state"] == "loaded")
    assert post(admin, "models/nothing/load", 404)["error"]["code"] == "RESOURCE_NOT_FOUND"


def test_the_queue_pauses_moves_and_cancels_over_restarts(light_server: ServerWithoutGpu, admin: httpx.Client) -> None:
    other = light_server.new_client("other")
    assert post(admin, "queue/pause")["paused_at"] is not None
    jobs = [light_server.submit(client) for client in (light_server.client, other, light_server.client)]
    page = get(admin, "queue")
    assert [row["job"]["public_id"] for row in page["jobs"]] == jobs
    assert [row["job"]["client"] for row in page["jobs"]] == ["studio", "other", "studio"]
    assert page["state"]["images_waiting"] == 3
    post(admin, f"jobs/{jobs[1]}/front")
    post(admin, f"jobs/{jobs[2]}/front")
    expected = [jobs[2], jobs[1], jobs[0]]
    assert [row["job"]["public_id"] for row in get(admin, "queue")["jobs"]] == expected
    light_server.stop()
    light_server.start(wait_ready=False)
    admin.base_url = light_server.url
    page = get(admin, "queue")
    assert page["state"]["paused_at"] is not None
    assert [row["job"]["public_id"] for row in page["jobs"]] == expected
    assert [row["front"] for row in page["jobs"]] == [True, True, False]
    cancelled = post(admin, f"jobs/{jobs[1]}/cancel")
    assert (cancelled["status"], cancelled["reason"], cancelled["refunded"]) == ("FAILURE", "cancelled", 5)
    assert post(admin, f"jobs/{jobs[1]}/cancel", 409)["error"]["code"] == "JOB_NOT_CANCELLABLE"
    assert post(admin, f"jobs/{jobs[1]}/front", 409)["error"]["code"] == "CONFLICT"
    assert post(admin, "jobs/01J00000000000000000000000/front", 404)["error"]["code"] == "JOB_NOT_FOUND"
    assert light_server.job(jobs[0])["status"] == "NOT_STARTED"
    assert post(admin, "queue/resume") == {"paused_at": None, "images_waiting": 0, "images_in_flight": 2}
    for job in (jobs[0], jobs[2]):
        assert light_server.finished(job)["status"] == "SUCCESS"
    assert get(admin, "queue")["jobs"] == []


def test_clients_and_their_credits(light_server: ServerWithoutGpu, admin: httpx.Client) -> None:
    made = post(admin, "clients", 201, name="compositing", credits=20)
    client = light_server.client_of(made["key"])
    assert light_server.credits(client)["balance"] == 20
    assert post(admin, "clients", 409, name="compositing")["error"]["code"] == "CONFLICT"
    assert post(admin, "clients/compositing/grants", 201, credits=-15, note="meant for others")["balance"] == 5
    assert light_server.credits(client) == {"balance": 5, "granted": 5, "spent": 0, "refunded": 0}
    taken = client.get("/v1/transactions").json()["items"][0]
    assert (taken["kind"], taken["label"], taken["credits_delta"]) == ("pack", "meant for others", -15)
    refused = post(admin, "clients/compositing/grants", 409, credits=-6)
    assert (
        refused["error"]["message"] == "6 credits cannot be taken back from 'compositing', which has 5; take 5 at most"
    )
    assert post(admin, "clients/compositing/grants", 422, credits=0)["detail"][0]["loc"] == ["body", "credits"]
    assert post(admin, "clients/nobody/grants", 404, credits=1)["error"]["code"] == "RESOURCE_NOT_FOUND"
    problems = post(admin, "clients", 422, name="a/b", credits=-1, tset=True)["detail"]
    assert [problem["loc"] for problem in problems] == [["body", "name"], ["body", "credits"], ["body", "tset"]]
    assert problems[0]["msg"] == "'a/b' has a '/', which no address of the admin API can carry; write 'a-b'"
    post(admin, "clients/compositing/disable")
    answer = client.get("/v1/credits")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED")
    assert "disabled" in answer.json()["error"]["message"]
    listed = {row["name"]: row for row in get(admin, "clients")["clients"]}
    assert listed["compositing"]["disabled_at"] is not None
    post(admin, "clients/compositing/enable")
    assert client.get("/v1/credits").status_code == 200


def test_a_grant_whose_answer_was_lost_is_repeated_in_vain(light_server: ServerWithoutGpu, admin: httpx.Client) -> None:
    post(admin, "clients", 201, name="granted-once")
    path = "/v1/admin/clients/granted-once/grants"

    def grant(key: str, **body: Any) -> httpx.Response:
        return admin.post(path, json=body, headers={"Idempotency-Key": key})

    assert [grant("november", credits=30).json()["balance"] for _ in range(2)] == [30, 30]
    other = grant("november", credits=31)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert grant("december", credits=30).json()["balance"] == 60
    # One that was refused may be tried again.
    assert grant("taken", credits=-61).status_code == 409
    post(admin, "clients/granted-once/grants", 201, credits=1)
    assert grant("taken", credits=-61).json()["balance"] == 0
    wrong = grant("two words", credits=0).json()["detail"]
    assert [problem["loc"] for problem in wrong] == [["header", "Idempotency-Key"], ["body", "credits"]]


@pytest.mark.parametrize("name", ["50 % (night)", "who? #1 & more", "背景", "..."])
def test_a_name_that_can_be_given_can_be_addressed(
    light_server: ServerWithoutGpu, admin: httpx.Client, name: str
) -> None:
    made = post(admin, "clients", 201, name=name)
    path = f"clients/{quote(name, safe='')}"
    assert post(admin, f"{path}/grants", 201, credits=7)["balance"] == 7
    assert post(admin, f"{path}/disable")["disabled_at"] is not None
    assert post(admin, f"{path}/enable")["disabled_at"] is None
    assert light_server.credits(light_server.client_of(made["key"]))["balance"] == 7
    assert post(admin, "keys", 201, client=name, label="a/b ?#%")["label"] == "a/b ?#%"


def test_keys_have_labels_and_dates(light_server: ServerWithoutGpu, admin: httpx.Client) -> None:
    made = post(admin, "keys", 201, client="studio", label="render farm", priority=1, capabilities=["jobs:read"])
    client = light_server.client_of(made["key"])
    assert client.get("/v1/credits").status_code == 200
    listed = {row["key"]: row for row in get(admin, "keys")["keys"]}
    row = listed[made["key"][:14]]
    assert (row["label"], row["priority"], row["capabilities"], row["expires_at"]) == (
        "render farm",
        1,
        ["jobs:read"],
        None,
    )
    assert admin.delete(f"/v1/admin/keys/{made['key'][:14]}").status_code == 204
    assert client.get("/v1/credits").status_code == 401
    assert admin.delete(f"/v1/admin/keys/{made['key'][:14]}").status_code == 404
    soon = as_text(datetime.now(UTC) + timedelta(seconds=1))
    expired = light_server.client_of(post(admin, "keys", 201, client="studio", expires_at=soon)["key"])
    wait_for(lambda: expired.get("/v1/credits").status_code == 401)
    assert f"expired at {soon}" in expired.get("/v1/credits").json()["error"]["message"]
    refused = post(admin, "keys", 422, client="studio", expires_at="2020-01-01T00:00:00Z")
    assert refused["detail"][0]["msg"].startswith("It is over already")
    assert post(admin, "keys", 422, client="studio", expires_at="soon")["detail"][0]["loc"] == ["body", "expires_at"]
    assert post(admin, "keys", 404, client="nobody")["error"]["code"] == "RESOURCE_NOT_FOUND"


def test_every_change_is_logged_with_its_key(light_server: ServerWithoutGpu, admin: httpx.Client) -> None:
    answers = [
        admin.post("/v1/admin/clients/studio/grants", json={"credits": 1}),
        admin.post("/v1/admin/clients/nobody/disable"),
        admin.post("/v1/admin/queue/resume"),
    ]
    for answer in answers:
        row = logged(admin, answer)
        assert (row["key"], row["status"], row["client"]) == (key_hint(admin), answer.status_code, "studio")
        assert row["route"] == answer.request.url.path


def test_usage_by_client_day_and_model(light_server: ServerWithoutGpu, admin: httpx.Client) -> None:
    client = light_server.new_client("measured")
    for _ in range(2):
        light_server.finished(light_server.submit(client), client)
    light_server.finished(light_server.submit(client, prompt="broken"), client)
    cancelled = light_server.submit(client, prompt="endless")
    client.post(f"/v1/jobs/{cancelled}/cancel")
    light_server.finished(cancelled, client)
    rows = get(admin, "usage", by="client,day,model")["rows"]
    (row,) = [row for row in rows if row["client"] == "measured"]
    assert (row["jobs"], row["succeeded"], row["failed"], row["cancelled"], row["images"]) == (4, 2, 1, 1, 2)
    assert (row["credits_spent"], row["credits_refunded"], row["model"]) == (10, 10, "fake")
    failed = get(admin, "requests", failed=True, client="measured")["requests"]
    assert [row["reason"] for row in failed if row["job_id"]] == ["pipeline_error"]
    nobody = admin.get("/v1/admin/requests", params={"client": "nobody"})
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")
    assert nobody.json()["error"]["message"] == "There is no client 'nobody'; `backlot clients list` shows them"
    (whole,) = get(admin, "usage", by="")["rows"]
    assert whole["client"] is whole["day"] is whole["model"] is None
    assert whole["credits_spent"] == sum(row["credits_spent"] for row in rows)
    assert get(admin, "usage", by="client", until="2020-01-01T00:00:00Z")["rows"] == []
    assert admin.get("/v1/admin/usage", params={"by": "weekday"}).status_code == 422


def test_failures_come_with_their_log_lines(light_server: ServerWithoutGpu, admin: httpx.Client) -> None:
    job = light_server.submit(prompt="broken")
    assert light_server.finished(job)["status"] == "FAILURE"
    found = get(admin, "failures")["failures"][0]
    assert (found["job"]["public_id"], found["job"]["reason"]) == (job, "pipeline_error")
    assert any(job in line["text"] and line["file"] == "server.log" for line in found["log"])
    failed = get(admin, "requests", failed=True)["requests"]
    row = next(row for row in failed if row["job_id"] == job)
    assert (row["status"], row["job_status"], row["reason"]) == (202, "FAILURE", "pipeline_error")


def test_disk(light_server: ServerWithoutGpu, admin: httpx.Client) -> None:
    disk = get(admin, "disk")
    assert disk["data_folder"] == str(light_server.data)
    assert 0 < disk["free_bytes"] <= disk["total_bytes"]
    files = [path for path in (light_server.data / "images").rglob("*") if path.is_file()]
    assert disk["images"] == {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}
    assert disk["database_bytes"] > 0
    (light_server.data / "backlot.db.before-2026-11-27T124445Z").write_bytes(bytes(100_000_000))
    assert get(admin, "disk")["database_bytes"] < 100_000_000


def test_no_whole_key_is_in_the_request_log(light_server: ServerWithoutGpu, admin: httpx.Client) -> None:
    key = post(admin, "keys", 201, client="studio")["key"]
    for status in (204, 404):
        answer = admin.delete(f"/v1/admin/keys/{key}")
        assert answer.status_code == status
        assert logged(admin, answer)["route"] == f"/v1/admin/keys/{key[:14]}…"


def test_what_the_operator_looks_at_is_not_in_the_request_log(
    light_server: ServerWithoutGpu, admin: httpx.Client
) -> None:
    looked = admin.get("/v1/admin/devices")
    refused = light_server.client.get("/v1/admin/devices")
    assert (looked.status_code, refused.status_code) == (200, 403)
    # Rows are written in order: once this one is there, a row of the look would be too.
    assert logged(admin, refused)["status"] == 403
    rows = get(admin, "requests", limit=200)["requests"]
    assert looked.headers["X-Request-Id"] not in [row["id"] for row in rows]
