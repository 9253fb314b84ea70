"""The client's side of prices, retries, signatures and requests to the catalogue."""

import asyncio
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backlot_client import AsyncClient, BackgroundSpec, Client, Conflict, ImageSpec, JobFailed, NotFound, Unauthorized

from tests.support.server import ROOT, Server, ServerWithoutGpu

SPEC = BackgroundSpec(scene_type="marble", mood="warm")


@pytest.fixture
def client(light_server: Server) -> Client:
    return Client(light_server.url, light_server.key)


def test_the_most_that_a_job_may_cost(light_server: Server, client: Client) -> None:
    spent = client.credits().spent
    with pytest.raises(Conflict) as refused:
        client.submit(SPEC, max_credits=4)
    assert refused.value.code == "PRICE_TOO_HIGH"
    assert client.submit(SPEC, max_credits=client.estimate(SPEC).credits_cost).credits_cost == 5
    assert client.credits().spent == spent + 5
    [operation] = [operation for operation in client.operations() if operation.name == "background-generator"]
    assert {price.credits_cost for price in operation.prices} == {5}


def test_a_failed_job_is_retried(client: Client) -> None:
    failed = client.submit(BackgroundSpec(scene_type="broken", mood="warm", metadata={"shot": 1}))
    with pytest.raises(JobFailed):
        client.wait(failed.job_id)
    with pytest.raises(Conflict) as refused:
        client.retry(failed.job_id, max_credits=4)
    assert refused.value.code == "PRICE_TOO_HIGH"
    again = client.retry(failed.job_id, idempotency_key="once-more")
    assert again == client.retry(failed.job_id, idempotency_key="once-more")
    assert client.job(again.job_id).request == client.job(failed.job_id).request
    done = client.wait(client.submit(SPEC).job_id)
    with pytest.raises(Conflict) as refused:
        client.retry(done.public_id)
    assert refused.value.code == "JOB_NOT_RETRYABLE"
    with pytest.raises(NotFound):
        client.retry("01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_what_is_understood(client: Client) -> None:
    [closed] = [model for model in client.models() if model.name == "closed"]
    assert closed.vocabulary is not None
    assert "marble" in closed.vocabulary.scenes
    spec = BackgroundSpec(scene_type="the moon", mood="cosy", image_model="closed")
    understood = client.estimate(spec).understood
    assert understood is not None
    assert (understood.scene, understood.mood) == (None, "warm")
    job = client.wait(client.submit(spec).job_id)
    [entry] = [entry for entry in client.backgrounds() if entry.generation_job_public_id == job.public_id]
    assert entry.understood == understood


def test_the_catalogue_is_filtered(client: Client) -> None:
    client.wait(client.submit(BackgroundSpec(scene_type="a very green marble", mood="warm")).job_id)
    client.wait(client.submit(ImageSpec(prompt="a purple door")).job_id)
    soon = datetime.now(UTC) + timedelta(minutes=5)
    [entry] = client.backgrounds(query="green", model="fake", favourite=False, created_before=soon)
    assert entry.spec.scene_type == "a very green marble"
    [image] = client.images(query="purple", created_before=soon)
    assert image.spec.prompt == "a purple door"
    tagged = BackgroundSpec(scene_type="marble", mood="warm", metadata={"shot": "s010", "take": 2, "hero": True})
    client.wait(client.submit(tagged).job_id)
    [found] = client.backgrounds(metadata={"shot": "s010", "take": 2, "hero": True})
    assert found.spec.metadata == tagged.metadata
    assert client.backgrounds(metadata={"shot": "s010", "take": 3}) == []
    [job] = client.jobs(metadata={"shot": "s010", "take": 2, "hero": True}).jobs
    assert job.public_id == found.generation_job_public_id
    assert client.whole_jobs(metadata={"shot": "s010", "hero": False}).jobs == []
    assert client.backgrounds(query="green", favourite=True) == client.images(created_after=soon) == []


@pytest.fixture(scope="module")
def secret(light_server: Server) -> str:
    return light_server.backlot("clients", "secret", "studio").stdout.strip()


def test_requests_are_signed(light_server: ServerWithoutGpu, secret: str) -> None:
    with Client(light_server.url, light_server.key, signing_secret=secret) as signing:
        job = signing.wait(signing.submit(SPEC).job_id)
        assert signing.credits().spent > 0

    async def go() -> str:
        async with AsyncClient(light_server.url, light_server.key, signing_secret=secret) as client:
            return (await client.wait((await client.submit(SPEC)).job_id)).public_id

    assert asyncio.run(go()) != job.public_id
    with Client(light_server.url, light_server.key, signing_secret=f"{secret}x") as wrong:
        with pytest.raises(Unauthorized) as refused:
            wrong.submit(SPEC)
        assert refused.value.code == "BAD_SIGNATURE"


def test_what_the_page_about_signing_says(light_server: ServerWithoutGpu, secret: str) -> None:
    page = (ROOT / "docs" / "howto" / "sign-requests.md").read_text()
    [shell] = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    settings = {"BACKLOT_URL": light_server.url, "BACKLOT_KEY": light_server.key, "BACKLOT_SIGNING_SECRET": secret}
    done = subprocess.run(["bash", "-euc", shell], env={**os.environ, **settings}, capture_output=True, check=True)
    assert json.loads(done.stdout)["status"] == "NOT_STARTED"
    settings["BACKLOT_SIGNING_SECRET"] = "another"
    done = subprocess.run(["bash", "-euc", shell], env={**os.environ, **settings}, capture_output=True, check=True)
    assert json.loads(done.stdout)["error"]["code"] == "BAD_SIGNATURE"
    [python] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}
    exec(python, names)
    body = b'{"scene_type": "marble", "mood": "warm"}'
    signed = {"X-Shopify-Hmac-Sha256": names["signature"](secret, body)}  # type: ignore[operator]
    assert light_server.client.post("/v1/background-generator", content=body, headers=signed).status_code == 202


def run(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "backlot_client", "--url", server.url, "--key", server.key, *arguments],
        capture_output=True,
        text=True,
    )


def test_the_command_says_the_price_before_it_is_paid(light_server: Server, tmp_path: Path) -> None:
    spent = light_server.credits()["spent"]
    order = [
        "generate",
        "--scene-type",
        "the moon",
        "--mood",
        "cosy",
        "--image-model",
        "closed",
        "-n",
        "3",
    ]
    told = run(light_server, *order, "--dry-run")
    assert told.stdout.startswith("5 credits a picture, 15 in all; the balance is ")
    assert "scene: not known, so a plain default; mood: warm; colours used: 0" in told.stdout
    assert [found["credits_cost"] for found in json.loads(run(light_server, *order, "--dry-run", "--json").stdout)] == [
        5
    ] * 3
    nowhere = run(light_server, *order)
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert "error: say with -o where the pictures go" in nowhere.stderr
    refused = run(light_server, *order, "-o", str(tmp_path), "--max-credits", "4")
    assert refused.returncode == 1
    assert "the request allows 4" in refused.stderr
    assert light_server.credits()["spent"] == spent
    assert list(tmp_path.iterdir()) == []


def test_the_command_finds_what_it_tagged(light_server: Server, tmp_path: Path) -> None:
    order = ("generate", "--scene-type", "marble", "--mood", "warm", "--metadata", "shot=s020", "--metadata", "by=a=b")
    [made] = json.loads(run(light_server, *order, "-o", str(tmp_path), "--json").stdout)
    [entry] = json.loads(run(light_server, "catalog", "--metadata", "by=a=b", "--json").stdout)
    assert entry["generation_job_public_id"] == made["job_id"]
    assert entry["spec"]["metadata"] == {"shot": "s020", "by": "a=b"}
    assert json.loads(run(light_server, "catalog", "--metadata", "shot=s021", "--json").stdout) == []
    [job] = json.loads(run(light_server, "jobs", "--metadata", "shot=s020", "--json").stdout)
    assert job["public_id"] == made["job_id"]


def test_the_command_names_loras(light_server: Server) -> None:
    order = ("generate", "--scene-type", "marble", "--mood", "warm", "--dry-run")
    unknown = run(light_server, *order, "--lora", "oak", "--lora", "pine=-0.5")
    assert unknown.returncode == 1
    assert "loras.0.name: " in unknown.stderr
    assert "'oak'" in unknown.stderr
    assert "'pine'" in unknown.stderr
    for odd in ("oak=much", "oak=3", "oak=nan", "=1"):
        done = run(light_server, *order, "--lora", odd)
        assert (done.returncode, f"{odd!r} is not NAME or NAME=WEIGHT" in done.stderr) == (2, True)


def test_the_command_goes_on_after_a_refusal_and_repeated_pays_nothing(light_server: Server, client: Client) -> None:
    first, last = (client.submit(BackgroundSpec(scene_type="broken", mood="warm")) for _ in range(2))
    for accepted in (first, last):
        with pytest.raises(JobFailed):
            client.wait(accepted.job_id)
    done = client.wait(client.submit(SPEC).job_id)
    before = light_server.credits()["spent"]
    order = ("retry", first.job_id, done.public_id, "a job/no one's ñ", last.job_id)
    told = run(light_server, *order)
    assert told.returncode == 1
    assert [line.split(maxsplit=1)[1] for line in told.stdout.splitlines()] == ["NOT_STARTED 5 credits"] * 2
    refused, unknown = told.stderr.splitlines()
    assert refused.startswith(f"{done.public_id}: Job {done.public_id} has not failed")
    assert unknown.startswith("a job/no one's ñ: ")
    again = run(light_server, *order)
    assert (again.returncode, again.stdout) == (1, told.stdout)
    made, not_failed, not_there, made_last = json.loads(run(light_server, *order, "--json").stdout)
    assert [made["job_id"], made_last["job_id"]] == [line.split()[0] for line in told.stdout.splitlines()]
    assert [not_failed["error"]["code"], not_there["error"]["code"]] == ["JOB_NOT_RETRYABLE", "NOT_FOUND"]
    assert light_server.credits()["spent"] == before + 10

    # To retry the first job once more is to retry the new one, which failed as well.
    with pytest.raises(JobFailed):
        client.wait(made["job_id"])
    once_more = run(light_server, "retry", made["job_id"])
    assert once_more.returncode == 0
    assert once_more.stdout.split()[0] not in {first.job_id, made["job_id"]}
    assert client.credits().spent == before + 15


def test_the_command_retries(light_server: Server, client: Client) -> None:
    failed = client.submit(BackgroundSpec(scene_type="broken", mood="warm"))
    with pytest.raises(JobFailed):
        client.wait(failed.job_id)
    told = run(light_server, "retry", failed.job_id)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.endswith(" NOT_STARTED 5 credits\n")
    [entry] = json.loads(run(light_server, "catalog", "--limit", "1", "--query", "marble", "--json").stdout)
    assert "marble" in entry["spec"]["scene_type"]
