"""`image-generation`: several images of one prompt in one job."""

from pathlib import Path
from typing import Any

import httpx

from tests.support.server import Server, ServerWithoutGpu, wait_for


def submit(server: Server, client: Any = None, **spec: Any) -> dict[str, Any]:
    response = (client or server.client).post("/v1/image-generation", json={"prompt": "marble warm red", **spec})
    assert response.status_code == 202, response.text
    accepted: dict[str, Any] = response.json()
    return accepted


def test_one_job_makes_several_images_with_seeds_in_a_row(tiny_server: Server) -> None:
    client = tiny_server.new_client("painter", 100)
    accepted = submit(tiny_server, client, n=4, seed=11, metadata={"shot": 7}, dominant_colors=["navy"])
    assert accepted["credits_cost"] == 20
    job = tiny_server.finished(accepted["job_id"], client)
    assert (job["status"], job["job_type"], job["progress"]) == ("SUCCESS", "IMAGE_GENERATION", 1.0)
    assert [artifact["meta"]["seed"] for artifact in job["result"]] == [11, 12, 13, 14]
    assert {(artifact["kind"], artifact["role"]) for artifact in job["result"]} == {("image", "final")}
    assert {artifact["meta"]["prompt"] for artifact in job["result"]} == {"marble warm red, in navy"}
    pictures = [client.get(artifact["image_url"]).content for artifact in job["result"]]
    assert len({*pictures}) == 4
    assert client.get("/v1/credits").json() == {"balance": 80, "granted": 100, "spent": 20, "refunded": 0}

    entries = client.get("/v1/catalog/images").json()
    assert len(entries) == 4
    assert {entry["generation_job_public_id"] for entry in entries} == {accepted["job_id"]}
    entry = client.get(f"/v1/catalog/images/{entries[0]['public_id']}").json()
    assert entry["spec"] == {
        "public_id": entries[0]["public_id"],
        "display_name": "Marble warm red",
        "prompt": "marble warm red",
        "metadata": {"shot": 7},
    }
    assert client.get("/v1/catalog/backgrounds").json() == []


def test_the_images_of_a_job_are_those_of_single_jobs(tiny_server: Server) -> None:
    together = tiny_server.finished(submit(tiny_server, n=2, seed=40, image_model="exact")["job_id"])
    alone = [
        tiny_server.finished(submit(tiny_server, n=1, seed=seed, image_model="exact")["job_id"]) for seed in (40, 41)
    ]
    files = [tiny_server.client.get(artifact["image_url"]).content for artifact in together["result"]]
    assert files == [tiny_server.client.get(job["result"][0]["image_url"]).content for job in alone]


def test_a_job_fails_as_a_whole_and_is_refunded_once(tiny_server: Server) -> None:
    client = tiny_server.new_client("unlucky painter", 100)
    job = tiny_server.finished(submit(tiny_server, client, n=3, image_model="black")["job_id"], client)
    assert (job["status"], job["result"]) == ("FAILURE", [])
    assert job["latest_event"]["extra"]["reason"] == "black_image"
    assert job["latest_event"]["extra"]["refunded"] == 15
    assert client.get("/v1/credits").json() == {"balance": 100, "granted": 100, "spent": 15, "refunded": 15}
    assert client.get("/v1/catalog/images").json() == []


def test_a_cancelled_job_leaves_no_image_behind(slow_server: Server) -> None:
    accepted = submit(slow_server, n=3)
    wait_for(lambda: slow_server.job(accepted["job_id"])["status"] == "IN_PROGRESS")
    cancelled = slow_server.client.post(f"/v1/jobs/{accepted['job_id']}/cancel")
    assert cancelled.status_code == 200
    ended = slow_server.finished(accepted["job_id"])
    assert (ended["status"], ended["latest_event"]["extra"]["reason"]) == ("FAILURE", "cancelled")
    assert slow_server.credits()["spent"] == slow_server.credits()["refunded"]
    assert not list((slow_server.data / "images").rglob(f"{accepted['job_id']}*"))


def test_a_prompt_is_checked_like_any_field(tiny_server: Server) -> None:
    answer = tiny_server.client.post("/v1/image-generation", json={"prompt": " ", "n": 9, "scene_type": "marble"})
    assert answer.status_code == 422
    assert sorted(detail["loc"] for detail in answer.json()["detail"]) == [
        ["body", "n"],
        ["body", "prompt"],
        ["body", "scene_type"],
    ]


def test_a_client_that_fills_the_queue_shuts_no_other_out(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path, BACKLOT_QUEUE_LIMIT="10")
    server.start(wait_ready=False)
    try:

        def generate(client: httpx.Client, n: int, **params: str) -> int:
            spec = {"prompt": "endless", "n": n}
            return client.post("/v1/image-generation", params=params, json=spec).status_code

        while generate(server.client, 4) == 202:
            pass
        other = server.new_client("other")
        assert (generate(other, 8, dry_run="true"), generate(other, 8)) == (200, 202)
        # Now it has images that wait, and the queue is as full for it as for all.
        assert (generate(other, 1, dry_run="true"), generate(other, 1)) == (503, 503)
    finally:
        server.stop()


def test_the_queue_never_takes_more_images_than_its_limit(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path, BACKLOT_QUEUE_LIMIT="10")
    server.start(wait_ready=False)
    try:

        def generate(n: int, **params: str) -> int:
            spec = {"prompt": "endless", "n": n}
            return server.client.post("/v1/image-generation", params=params, json=spec).status_code

        first = server.submit(scene_type="endless")
        wait_for(lambda: server.job(first)["status"] == "IN_PROGRESS")
        while generate(1) == 202:
            pass
        # Three places are free again.
        waiting = server.client.get("/v1/jobs", params={"status": "NOT_STARTED", "limit": 3}).json()["jobs"]
        for job in waiting:
            assert server.client.post(f"/v1/jobs/{job['public_id']}/cancel").status_code == 200
        spent = server.credits()["spent"]
        assert (generate(4, dry_run="true"), generate(4)) == (503, 503)
        assert (generate(3, dry_run="true"), generate(3)) == (200, 202)
        assert (generate(1, dry_run="true"), generate(1)) == (503, 503)
        assert server.credits()["spent"] == spent + 15
    finally:
        server.stop()
