"""OpenAI's own client against a running server."""

import asyncio
import base64
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from tests.support.server import Server, ServerWithoutGpu, wait_for


@pytest.fixture
def client(tiny_server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{tiny_server.url}/v1", api_key=tiny_server.key, max_retries=0)


def test_images_as_base64(client: openai.OpenAI) -> None:
    answer = client.images.generate(prompt="marble warm", model="good", n=4, size="512x512", response_format="b64_json")
    assert answer.data is not None
    images = [Image.open(BytesIO(base64.b64decode(item.b64_json or ""))) for item in answer.data]
    assert [image.size for image in images] == [(512, 512)] * 4
    assert {item.revised_prompt for item in answer.data} == {"marble warm"}


def test_images_by_link_with_fields_of_this_server(client: openai.OpenAI, tiny_server: Server) -> None:
    answer = client.images.generate(prompt="marble warm", size="1792x1024", extra_body={"seed": 5})
    assert answer.data is not None
    [item] = answer.data
    assert item.url is not None
    assert Image.open(BytesIO(httpx.get(item.url).content)).size == (672, 384)
    job = tiny_server.job(answer.model_extra["job_id"] if answer.model_extra else "")
    assert job["result"][0]["meta"]["seed"] == 5


def test_the_asynchronous_client(tiny_server: Server) -> None:
    async def ask() -> list[int]:
        async with openai.AsyncOpenAI(base_url=f"{tiny_server.url}/v1", api_key=tiny_server.key) as client:
            answers = await asyncio.gather(*(client.images.generate(prompt="wood", n=n) for n in (1, 2)))
        return [len(answer.data or []) for answer in answers]

    assert asyncio.run(ask()) == [1, 2]


def test_models(client: openai.OpenAI) -> None:
    assert "good" in [model.id for model in client.models.list()]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"size": "huge"}, "size"),
        ({"n": 9}, "n"),
        ({"model": "dall-e-3"}, "model"),
        ({"quality": "hd"}, "quality"),
        ({"style": "vivid"}, "style"),
        ({"stream": True}, "stream"),
        ({"extra_body": {"strength": 1}}, "strength"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(
    client: openai.OpenAI, fields: dict[str, object], param: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.images.generate(prompt="marble", **fields)  # type: ignore[call-overload]
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"
    assert refused.value.code == "VALIDATION_ERROR"


def test_neutral_fields_are_accepted(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        prompt="marble", quality="auto", background="auto", moderation="auto", output_format="png", size="auto"
    )
    assert len(answer.data or []) == 1


def test_a_bad_key_and_an_empty_purse(tiny_server: Server) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        openai.OpenAI(base_url=f"{tiny_server.url}/v1", api_key="sk_live_wrong").images.generate(prompt="marble")
    assert (refused.value.code, refused.value.type) == ("UNAUTHORIZED", "invalid_request_error")
    key = tiny_server.backlot("clients", "add", "broke painter", "--credits", "4").stdout.strip()
    with pytest.raises(openai.APIStatusError) as empty:
        openai.OpenAI(base_url=f"{tiny_server.url}/v1", api_key=key).images.generate(prompt="marble")
    assert (empty.value.status_code, empty.value.code) == (402, "INSUFFICIENT_BALANCE")


def test_a_failed_job_is_an_error_and_is_refunded(tiny_server: Server) -> None:
    key = tiny_server.backlot("clients", "add", "black painter", "--credits", "10").stdout.strip()
    client = openai.OpenAI(base_url=f"{tiny_server.url}/v1", api_key=key, max_retries=0)
    with pytest.raises(openai.InternalServerError) as failed:
        client.images.generate(prompt="marble", model="black")
    assert failed.value.code == "GENERATION_FAILED"
    assert "black" in failed.value.message
    assert tiny_server.credits(tiny_server.client_of(key))["balance"] == 10


def test_a_client_that_goes_away_cancels_its_job(slow_server: Server) -> None:
    before = slow_server.credits()["refunded"]
    with pytest.raises(httpx.ReadTimeout):
        slow_server.client.post("/v1/images/generations", json={"prompt": "marble"}, timeout=1.5)
    wait_for(lambda: slow_server.credits()["refunded"] == before + 5)
    wait_for(lambda: request_log(slow_server)[0]["status"] == 499)


def test_the_request_log_says_how_a_request_was_answered(tiny_server: Server) -> None:
    answers = [
        tiny_server.client.post("/v1/images/generations", json={"prompt": "marble", "model": model})
        for model in ("good", "black")
    ]
    assert [answer.status_code for answer in answers] == [200, 500]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    wait_for(lambda: request_log(tiny_server)[0]["status"] == 500)
    rows = {row["id"]: row for row in request_log(tiny_server)}
    assert [(rows[name]["status"], rows[name]["error_code"]) for name in ids] == [
        (200, None),
        (500, "GENERATION_FAILED"),
    ]
    assert rows[ids[0]]["job_id"] == answers[0].json()["job_id"]
    assert len(request_log(tiny_server)) == len(rows)


def request_log(server: Server) -> list[dict[str, Any]]:
    """Return the rows of this route, newest first."""
    rows: list[dict[str, Any]] = json.loads(server.backlot("requests", "--json", "--limit", "1000").stdout)
    return [row for row in rows if row["route"] == "/v1/images/generations"]


def test_a_client_that_goes_away_leaves_the_job_to_its_repetition(light_server: ServerWithoutGpu) -> None:
    def post(seconds: float) -> httpx.Response:
        with light_server.client_of(light_server.key) as client:
            headers = {"Idempotency-Key": "left-alone"}
            body = {"prompt": "endless and repeated"}
            return client.post("/v1/images/generations", json=body, headers=headers, timeout=seconds)

    def waiting() -> list[str]:
        jobs = light_server.client.get("/v1/jobs", params={"status": "IN_PROGRESS"}).json()["jobs"]
        return [job["public_id"] for job in jobs]

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(post, 3)
        wait_for(lambda: waiting() != [])
        second = threads.submit(post, 30)
        with pytest.raises(httpx.ReadTimeout):
            first.result()
        # The server notices the end of the connection before it answers later requests.
        for _ in range(20):
            light_server.credits()
        [job_id] = waiting()
        assert light_server.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
        assert second.result().json()["error"]["code"] == "GENERATION_FAILED"


@pytest.mark.parametrize("response_format", ["url", "b64_json"])
@pytest.mark.parametrize("how", ["deleted", "lost"])
def test_a_repetition_is_told_that_its_image_was_removed(
    light_server: ServerWithoutGpu, response_format: str, how: str
) -> None:
    client = light_server.new_client(f"{response_format} {how}")
    body = {"prompt": "marble", "response_format": response_format}

    def ask() -> httpx.Response:
        return client.post("/v1/images/generations", json=body, headers={"Idempotency-Key": "again"})

    job_id = ask().json()["job_id"]
    (entry,) = client.get("/v1/catalog/images").json()
    if how == "deleted":
        assert client.delete(f"/v1/catalog/images/{entry['public_id']}").status_code == 204
    else:
        (light_server.data / "images" / job_id[-2:] / f"{job_id}.png").unlink()
    again = ask()
    if (how, response_format) == ("lost", "url"):
        # The server knows only at the link that the file is gone.
        assert httpx.get(again.json()["data"][0]["url"]).status_code == 404
    else:
        assert (again.status_code, again.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")
        assert "send another Idempotency-Key" in again.json()["error"]["message"]
    assert light_server.credits(client)["spent"] == 5


def test_a_client_that_comes_back_after_its_job_was_cancelled_gets_another(light_server: ServerWithoutGpu) -> None:
    headers = {"Idempotency-Key": "gone-and-back"}
    body = {"prompt": "endless and gone"}
    before = light_server.credits()
    for _ in range(2):
        with light_server.client_of(light_server.key) as client, pytest.raises(httpx.ReadTimeout):
            client.post("/v1/images/generations", json=body, headers=headers, timeout=1)
    wait_for(lambda: light_server.credits()["refunded"] == before["refunded"] + 10)
    assert light_server.credits()["spent"] == before["spent"] + 10
    [latest, earlier] = light_server.client.get("/v1/jobs", params={"limit": 2}).json()["jobs"]
    for job in (latest, earlier):
        event = light_server.job(job["public_id"])["latest_event"]
        assert (event["extra"]["reason"], event["extra"]["client_gone"]) == ("cancelled", True)


@pytest.mark.parametrize("path", ["/v1/image-generation", "/v1/background-generator"])
def test_a_key_stands_for_one_path(light_server: ServerWithoutGpu, path: str) -> None:
    headers = {"Idempotency-Key": f"one-path{path}"}
    body = {"prompt": "marble"} if "image" in path else {"scene_type": "marble", "mood": "warm"}
    assert light_server.client.post(path, json=body, headers=headers).status_code == 202
    refused = light_server.client.post("/v1/images/generations", json={"prompt": "marble"}, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")


def test_a_kill_gives_the_credits_back_unless_a_repetition_can_find_the_job(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    with ThreadPoolExecutor(2) as threads:
        for headers in ({}, {"Idempotency-Key": "again"}):
            client = server.client_of(server.key)
            body = {"prompt": "endless"}
            threads.submit(client.post, "/v1/images/generations", json=body, headers=headers)
        wait_for(lambda: server.credits()["spent"] == 10)
        server.stop(signal.SIGKILL)
    server.start(wait_ready=False)
    try:
        wait_for(lambda: server.credits()["refunded"] == 5)
        jobs = server.client.get("/v1/jobs").json()["jobs"]
        assert sorted(job["status"] == "FAILURE" for job in jobs) == [False, True]
        left = next(server.job(job["public_id"]) for job in jobs if job["status"] == "FAILURE")
        assert left["latest_event"]["extra"]["client_gone"] is True
    finally:
        server.stop()


def test_a_stop_gives_the_credits_back_unless_a_repetition_can_find_the_job(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    key = {"Idempotency-Key": "again"}
    with ThreadPoolExecutor(2) as threads:
        waiting = [
            threads.submit(
                server.client_of(server.key).post,
                "/v1/images/generations",
                json={"prompt": "endless"},
                headers=headers,
            )
            for headers in ({}, key)
        ]
        wait_for(lambda: server.credits()["spent"] == 10)
        server.stop()
        without, with_key = (answer.result() for answer in waiting)
    server.start(wait_ready=False)
    try:
        for answer in (without, with_key):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVER_STOPPING")
        assert server.credits()["refunded"] == 5
        jobs = server.client.get("/v1/jobs").json()["jobs"]
        assert sorted(job["status"] == "FAILURE" for job in jobs) == [False, True]
        left = next(job["public_id"] for job in jobs if job["status"] != "FAILURE")
        assert left in with_key.json()["error"]["message"]
    finally:
        server.stop()
