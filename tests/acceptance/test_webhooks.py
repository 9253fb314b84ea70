"""Webhooks from a real server to real receivers, good and bad ones."""

import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from tests.support.receiver import Answer, Received, Receiver
from tests.support.server import Server, ServerWithoutGpu, wait_for

StartReceiver = Callable[..., Receiver]


@pytest.fixture
def receiver() -> Iterator[StartReceiver]:
    """Yield a function that starts receivers; they end with the test."""
    started: list[Receiver] = []

    def start(*answers: Answer) -> Receiver:
        started.append(Receiver(*answers))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def studio(light_server: Server) -> Iterator[Server]:
    """Yield a server whose client `studio` has no webhook any more after the test."""
    yield light_server
    light_server.backlot("webhooks", "remove", "studio")


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """Yield a server of the test's own, to be killed."""
    server = ServerWithoutGpu(tmp_path)
    server.start()
    yield server
    server.stop(signal.SIGKILL)


def set_webhook(server: Server, client: str, receiver: Receiver, *options: str) -> str:
    """Set a client's webhook and return its secret."""
    made = server.backlot("webhooks", "set", client, receiver.url, *options)
    assert made.returncode == 0, made.stderr
    secret = made.stdout.removesuffix("\n")
    assert secret.startswith("whsec_")
    return secret


def deliveries(server: Server, *options: str) -> list[dict[str, Any]]:
    listed = server.backlot("webhooks", "deliveries", "--limit", "1000", "--json", *options)
    assert listed.returncode == 0, listed.stderr
    found: list[dict[str, Any]] = json.loads(listed.stdout)
    return found


def delivery(server: Server, job_id: str) -> dict[str, Any]:
    [found] = [row for row in deliveries(server) if row["job_id"] == job_id]
    return found


def told(receiver: Receiver, job_id: str, times: int = 1) -> list[Received]:
    """Wait until a job's end was received that many times, and return what was received of it."""
    wait_for(lambda: len(of_job(receiver, job_id)) >= times)
    return of_job(receiver, job_id)


def of_job(receiver: Receiver, job_id: str) -> list[Received]:
    return [one for one in receiver.received if one.job_id == job_id]


def hurry(server: Server) -> None:
    """Make every retry due, as if its wait were over."""
    with closing(sqlite3.connect(server.data / "backlot.db", timeout=30)) as connection, connection:
        connection.execute("UPDATE webhook_deliveries SET due_at = created_at WHERE state = 'pending'")


def without_links(job: dict[str, Any]) -> str:
    """Return a job as text, without the signatures of its links, which differ on every read."""
    for artifact in (*job["result"], *job["latest_event"]["artifacts"]):
        artifact["image_url"] = artifact["image_url"].split("?")[0]
    return json.dumps(job)


def test_an_end_is_told_signed_and_whole(tiny_server: Server, receiver: StartReceiver) -> None:
    """Check the message for a real image, and for one that nobody could use."""
    good = receiver()
    secret = set_webhook(tiny_server, "studio", good)
    job_id = tiny_server.submit(seed=1, metadata={"shot": "wärm"})
    [message] = told(good, job_id)
    found = message.verified(secret)
    job = tiny_server.job(job_id)
    assert found["type"] == "job.succeeded"
    assert found["timestamp"] >= job["created_at"]
    assert found["data"]["status"] == "SUCCESS"
    assert httpx.get(found["data"]["result"][0]["image_url"]).headers["content-type"] == "image/png"
    assert without_links(found["data"]) == without_links(job)
    assert message.headers["content-type"] == "application/json"

    [message] = told(good, tiny_server.submit(image_model="black"))
    found = message.verified(secret)
    assert (found["type"], found["data"]["status"]) == ("job.failed", "FAILURE")
    assert found["data"]["latest_event"]["extra"] == {"reason": "black_image", "refunded": 5, "attempts": 1}


def test_what_was_delivered_is_listed(studio: Server, receiver: StartReceiver) -> None:
    good = receiver()
    set_webhook(studio, "studio", good)
    job_id = studio.submit()
    [message] = told(good, job_id)
    assert len(message.webhook_id) == 26
    wait_for(lambda: delivery(studio, job_id)["state"] == "delivered")
    row = delivery(studio, job_id)
    assert (row["id"], row["client"], row["event"]) == (message.webhook_id, "studio", "job.succeeded")
    assert (row["tries"], row["status"], row["error"], row["next_try_at"]) == (1, 200, None, None)


def test_only_the_events_that_were_asked_for_are_told(studio: Server, receiver: StartReceiver) -> None:
    failures = receiver()
    set_webhook(studio, "studio", failures, "--events", "job.failed")
    good, cancelled = studio.submit(), studio.submit(scene_type="endless")
    assert studio.finished(good)["status"] == "SUCCESS"
    assert studio.client.post(f"/v1/jobs/{cancelled}/cancel").status_code == 200
    [message] = told(failures, cancelled)
    found = json.loads(message.body)
    assert (found["type"], found["data"]["latest_event"]["extra"]["reason"]) == ("job.failed", "cancelled")
    assert {one.job_id for one in failures.received} == {cancelled}


def test_an_answer_of_500_is_followed_by_another_try(studio: Server, receiver: StartReceiver) -> None:
    flaky = receiver(500, 200)
    secret = set_webhook(studio, "studio", flaky)
    job_id = studio.submit()
    told(flaky, job_id)
    wait_for(lambda: delivery(studio, job_id)["tries"] == 1)
    row = delivery(studio, job_id)
    assert (row["state"], row["status"], row["error"]) == ("pending", 500, "answered 500")
    assert row["next_try_at"] > row["tried_at"]
    assert [row["id"] for row in deliveries(studio, "--failed", "--client", "studio")][:1] == [row["id"]]
    first, second = told(flaky, job_id, times=2)
    assert first.webhook_id == second.webhook_id == row["id"]
    assert int(first.headers["webhook-timestamp"]) < int(second.headers["webhook-timestamp"])
    assert first.verified(secret)["timestamp"] == second.verified(secret)["timestamp"]
    wait_for(lambda: delivery(studio, job_id)["state"] == "delivered")
    assert row["id"] not in [row["id"] for row in deliveries(studio, "--failed")]


def test_bad_receivers_hold_up_nobody(studio: Server, receiver: StartReceiver) -> None:
    """Set a webhook for each of several clients: receivers that hang, drip, close, redirect or are gone, and a good one."""
    bad = {answer: receiver(answer) for answer in ("hang", "drip", "close", 302)}
    gone = receiver()
    gone.stop()
    ended = {}
    for name, one in {**{str(answer): one for answer, one in bad.items()}, "gone": gone}.items():
        client = studio.new_client(f"client-{name}")
        set_webhook(studio, f"client-{name}", one)
        ended[name] = [studio.submit(client) for _ in range(6)]
        for job_id in ended[name]:
            studio.finished(job_id, client)
    good = receiver()
    set_webhook(studio, "studio", good)
    told(good, studio.submit())
    hanging = [delivery(studio, job_id) for name in ("hang", "drip") for job_id in ended[name]]
    assert {row["state"] for row in hanging} == {"pending"}

    def error_of(name: str) -> str:
        return next((row["error"] for row in deliveries(studio, "--client", f"client-{name}") if row["error"]), "")

    wait_for(lambda: all(error_of(name) for name in ended))
    errors = {name: error_of(name) for name in ended}
    assert errors["hang"] == errors["drip"] == "no answer within 10 s"
    assert "disconnected" in errors["close"]
    assert errors["302"] == "answered 302; redirects are not followed, so set the new address"
    assert errors["gone"].startswith("ConnectError")
    assert bad[302].strayed == 0
    # At most four deliveries run at once for a client, and each of these takes 10 s.
    sent = sorted(int(message.headers["webhook-timestamp"]) for message in bad["hang"].received)
    assert all(later - earlier >= 9 for earlier, later in zip(sent, sent[4:], strict=False))
    for name in ended:
        studio.backlot("webhooks", "remove", f"client-{name}")
    assert {row["state"] for name in ended for row in deliveries(studio, "--client", f"client-{name}")} == {"dead"}


def test_no_end_is_told_to_another_client(studio: Server, receiver: StartReceiver) -> None:
    receivers = {name: receiver() for name in ("left", "right")}
    ended: dict[str, set[str]] = {}
    keys = {name: studio.new_client(name) for name in receivers}
    secrets = {name: set_webhook(studio, name, one) for name, one in receivers.items()}
    for name, client in keys.items():
        ended[name] = {studio.submit(client) for _ in range(3)}
    for name, one in receivers.items():
        for job_id in ended[name]:
            told(one, job_id)
        assert {message.job_id for message in one.received} == ended[name]
        for message in one.received:
            assert message.verified(secrets[name])
    for name in receivers:
        assert {row["job_id"] for row in deliveries(studio, "--client", name)} == ended[name]


def test_ten_tries_then_dead_until_it_is_sent_again(studio: Server, receiver: StartReceiver) -> None:
    down = receiver(503)
    set_webhook(studio, "studio", down)
    job_id = studio.submit()
    told(down, job_id)
    for tries in range(1, 10):
        wait_for(lambda tries=tries: delivery(studio, job_id)["tries"] == tries)  # type: ignore[misc]
        hurry(studio)
    wait_for(lambda: delivery(studio, job_id)["state"] == "dead")
    row = delivery(studio, job_id)
    assert (row["tries"], row["status"], row["next_try_at"]) == (10, 503, None)
    assert {message.webhook_id for message in down.received} == {row["id"]}
    assert len(down.received) == 10
    [listed] = [
        row for row in json.loads(studio.backlot("webhooks", "list", "--json").stdout) if row["client"] == "studio"
    ]
    assert listed["dead"] >= 1
    assert "whsec_" not in str(listed)

    down.answers = [204]
    again = studio.backlot("webhooks", "resend", row["id"])
    assert again.stdout == "1 delivery will be sent again\n"
    wait_for(lambda: delivery(studio, job_id)["state"] == "delivered")
    assert down.received[-1].webhook_id == row["id"]
    for outcome in ("delivered", "failed", "dead"):
        assert f'backlot_webhook_tries_total{{outcome="{outcome}"}}' in studio.client.get("/metrics").text
    wait_for(lambda: "backlot_webhooks_pending 0.0" in studio.client.get("/metrics").text)


def test_a_new_secret_and_the_old_one_both_sign(studio: Server, receiver: StartReceiver) -> None:
    good = receiver()
    secrets = [set_webhook(studio, "studio", good) for _ in range(2)]
    [message] = told(good, studio.submit())
    for secret in secrets:
        assert message.verified(secret)["type"] == "job.succeeded"


def test_a_kill_between_the_end_and_the_delivery(own_server: Server, receiver: StartReceiver) -> None:
    server = own_server
    restarted = receiver("hang", 200)
    secret = set_webhook(server, "studio", restarted)
    job_id = server.submit()
    assert server.finished(job_id)["status"] == "SUCCESS"
    told(restarted, job_id)
    assert delivery(server, job_id)["tries"] == 0
    server.stop(signal.SIGKILL)
    server.start(wait_ready=False)
    before, after = told(restarted, job_id, times=2)
    assert before.webhook_id == after.webhook_id
    assert after.verified(secret)["data"]["public_id"] == job_id
    wait_for(lambda: delivery(server, job_id)["state"] == "delivered")

    # A second restart tells nothing of it again; another job's end shows that the server does tell.
    server.stop()
    server.start()
    told(restarted, server.submit())
    assert len(of_job(restarted, job_id)) == 2


def test_the_document_describes_what_is_told(studio: Server, receiver: StartReceiver) -> None:
    good = receiver()
    set_webhook(studio, "studio", good)
    [message] = told(good, studio.submit())
    document = studio.client.get("/schema").json()
    assert set(document["webhooks"]) == {"job.succeeded", "job.failed"}
    described = document["webhooks"]["job.succeeded"]["post"]
    schema = {**described["requestBody"]["content"]["application/json"]["schema"], "components": document["components"]}
    jsonschema_rs.validate(schema, json.loads(message.body))
    assert {header["name"] for header in described["parameters"]} <= set(message.headers)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["set", "nobody", "http://host/"], "there is no client 'nobody'"),
        (["set", "studio", "host/hook"], "does not begin with http:// or https://"),
        (
            ["set", "studio", "http://host/", "--events", "job.started"],
            "'job.started' is no event; there are job.succeeded, job.failed",
        ),
        (["set", "studio", "http://host/", "--events", ""], "'' is no event"),
        (["deliveries", "--client", "nobody"], "there is no client 'nobody'"),
        (["resend", "01KAZ3N8T9E4W1D6V2X5Y7B8C0"], "there is no webhook delivery '01KAZ3N8T9E4W1D6V2X5Y7B8C0'"),
        (["resend"], "Missing argument"),
        (["remove", "studio"], "studio has no webhook"),
    ],
)
def test_wrong_arguments_are_told(light_server: Server, arguments: list[str], told: str) -> None:
    answer = light_server.backlot("webhooks", *arguments)
    assert answer.returncode != 0
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr
