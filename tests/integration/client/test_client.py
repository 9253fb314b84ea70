"""The client library against a real server: the whole way, refusals, and a network that breaks."""

import asyncio
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from backlot_client import (
    AsyncClient,
    BackgroundSpec,
    Client,
    Conflict,
    EventType,
    Forbidden,
    ImageSpec,
    IncompleteDownload,
    InsufficientBalance,
    Invalid,
    Job,
    JobEvent,
    JobFailed,
    JobStatus,
    NotFound,
    Retries,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    WaitTimeout,
)

from tests.support.cutting_proxy import cutting_proxy
from tests.support.faults import locked
from tests.support.files import models_file
from tests.support.server import Server, StartServer, wait_for

SPEC = BackgroundSpec(scene_type="marble", mood="warm", dominant_colors=["navy"], seed=7, metadata={"shot": 12})
QUICK = Retries(first_s=0.01, longest_s=0.1)
KINDS = ["sync", "async"]


@pytest.fixture(scope="module")
def slow_server(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """Start a server whose jobs take a second or more, one at a time, and which lets three wait."""
    models = models_file(
        tmp_path_factory.mktemp("toml") / "models.toml", {"good": tiny_folders["good"]}, steps=80, max_batch=1
    )
    return start_server(models, BACKLOT_QUEUE_LIMIT="3")


@pytest.fixture
def client(tiny_server: Server) -> Client:
    return Client(tiny_server.url, tiny_server.key, retries=QUICK)


def follow(
    kind: str, url: str, key: str, job_id: str, since: int = 0, timeout_s: float | None = None
) -> list[JobEvent]:
    """Return all events, followed with the synchronous or the asynchronous client."""
    if kind == "sync":
        with Client(url, key, retries=QUICK) as client:
            return list(client.follow(job_id, since=since, timeout_s=timeout_s))

    async def collect() -> list[JobEvent]:
        async with AsyncClient(url, key, retries=QUICK) as client:
            return [event async for event in client.follow(job_id, since=since, timeout_s=timeout_s)]

    return asyncio.run(collect())


def finished_job(client: Client) -> str:
    return client.wait(client.submit(SPEC).job_id).public_id


def test_the_whole_way(tiny_server: Server, client: Client, tmp_path: Path) -> None:
    before = client.credits()
    accepted = client.submit(SPEC)
    assert (accepted.status, accepted.credits_cost) == (JobStatus.NOT_STARTED, 5)
    seen: list[JobEvent] = []
    job = client.wait(accepted.job_id, on_event=seen.append)
    assert seen == client.events(accepted.job_id).events
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert (seen[0].event_type, seen[-1].event_type) == (EventType.QUEUED, EventType.SUCCEEDED)
    assert job.request["metadata"] == {"shot": 12}
    (image,) = job.images
    path = client.download(image, tmp_path / "new" / "marble.png")
    assert path.read_bytes() == httpx.get(f"{image.image_url}&save=true").content
    assert list(path.parent.iterdir()) == [path]

    entry = client.backgrounds(scene_type="marble", limit=1)[0]
    assert entry == client.background(entry.public_id)
    assert (entry.generation_job_public_id, entry.spec.metadata) == (accepted.job_id, {"shot": 12})
    assert client.download(entry, tmp_path / "again.png").read_bytes() == path.read_bytes()
    assert client.jobs(status=JobStatus.SUCCESS, limit=1).jobs[0].public_id == accepted.job_id
    assert client.credits().spent == before.spent + 5
    assert client.transactions(kind="spend", limit=1).items[0].credits_delta == -5
    assert client.operations()[0].credits_cost == 5
    assert [model.name for model in client.models() if model.default] == ["good"]


def test_the_whole_way_async(tiny_server: Server, tmp_path: Path) -> None:
    async def go() -> None:
        async with AsyncClient(tiny_server.url, tiny_server.key) as client:
            accepted = await asyncio.gather(*(client.submit(SPEC) for _ in range(4)))
            jobs = await asyncio.gather(*(client.wait(found.job_id) for found in accepted))
            paths = await asyncio.gather(
                *(client.download(job.images[0], tmp_path / f"{job.public_id}.png") for job in jobs)
            )
            assert [path.name for path in paths] == [f"{job.public_id}.png" for job in jobs]
            assert (await client.backgrounds(limit=1))[0].spec.scene_type == "marble"

    asyncio.run(go())
    assert len(list(tmp_path.iterdir())) == 4


def test_several_images_of_a_prompt(client: Client, tmp_path: Path) -> None:
    spec = ImageSpec(prompt="a marble counter", n=3, seed=10, display_name="Counter")
    before = client.credits().balance
    estimate = client.estimate(spec)
    assert (estimate.credits_cost, estimate.balance) == (15, before)
    job = client.wait(client.submit(spec).job_id)
    assert [image.meta["seed"] for image in job.images] == [10, 11, 12]
    assert client.credits().balance == before - 15
    entries = client.images(limit=3)
    assert {entry.generation_job_public_id for entry in entries} == {job.public_id}
    assert client.image(entries[0].public_id).spec.prompt == "a marble counter"
    client.download(entries[0], tmp_path / "counter.png")


def test_an_estimate_takes_nothing(client: Client) -> None:
    before = client.credits()
    assert client.estimate(SPEC).credits_cost == 5
    with pytest.raises(Invalid):
        client.estimate(BackgroundSpec(scene_type="marble", mood=" "))
    assert client.credits() == before


def test_what_the_shipped_model_understood(server: Server) -> None:
    spec = BackgroundSpec(scene_type="planks", mood="warm", dominant_colors=["red"] * 5)
    with Client(server.url, server.key) as shipped:
        understood = shipped.estimate(spec).understood
        assert understood is not None
        assert understood == shipped.submit(spec).understood
        assert (understood.scene, understood.mood, understood.colors_used) == ("wood", "warm", 5)


def test_a_failed_job_is_an_error_with_its_reason(client: Client) -> None:
    accepted = client.submit(BackgroundSpec(scene_type="marble", mood="warm", image_model="nan"))
    with pytest.raises(JobFailed) as caught:
        client.wait(accepted.job_id)
    assert (caught.value.code, caught.value.refunded) == ("nan_latents", 5)
    assert caught.value.job.public_id == accepted.job_id


def test_refusals(tiny_server: Server, client: Client) -> None:
    with pytest.raises(Invalid) as caught:
        client.submit(BackgroundSpec(scene_type="marble", mood="warm", dominant_colors=["red", "bluish"], seed=-1))
    assert {tuple(problem.loc) for problem in caught.value.problems} == {
        ("body", "dominant_colors", 1),
        ("body", "seed"),
    }
    assert caught.value.request_id
    with pytest.raises(NotFound):
        client.job("../credits")
    with pytest.raises(NotFound, match="JOB_NOT_FOUND"):
        list(client.follow("01ARZ3NDEKTSV4RRFFQ69G5FAV"))
    with pytest.raises(Unauthorized), Client(tiny_server.url, "sk_live_wrong") as other:
        other.credits()
    poor = tiny_server.new_client("poor", 3).headers["Authorization"].removeprefix("Bearer ")
    with pytest.raises(InsufficientBalance, match="3"), Client(tiny_server.url, poor) as other:
        other.submit(SPEC)


def test_an_address_that_is_another_servers() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with (
            pytest.raises(UnexpectedAnswer, match="is the address right"),
            Client(f"http://127.0.0.1:{other.server_port}", "key") as client,
        ):
            client.credits()
        other.shutdown()
    with pytest.raises(Unreachable), Client("http://127.0.0.1:1", "key", retries=Retries(total_s=0)) as client:
        client.credits()


def test_a_repeated_submission_is_one_job(client: Client) -> None:
    spent = client.credits().spent
    first = client.submit(SPEC, idempotency_key="only-once")
    assert client.submit(SPEC, idempotency_key="only-once") == first
    with pytest.raises(Conflict):
        client.submit(BackgroundSpec(scene_type="wood", mood="cool"), idempotency_key="only-once")
    assert client.credits().spent == spent + 5


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_lost_is_not_paid_again(tiny_server: Server, kind: str) -> None:
    """Break the network five times, before the answer or within it, once the server has made the job."""
    before = tiny_server.credits()["spent"]
    with cutting_proxy(tiny_server.url, cuts=[0, 0, 17, 120, 0]) as proxy:
        if kind == "sync":
            with Client(proxy.url, tiny_server.key, retries=QUICK) as client:
                accepted = client.submit(SPEC)
        else:

            async def go() -> Any:
                async with AsyncClient(proxy.url, tiny_server.key, retries=QUICK) as client:
                    return await client.submit(SPEC)

            accepted = asyncio.run(go())
        assert len(proxy.requests) == 6
        assert all(answer.startswith(b"HTTP/1.1 202") for answer in proxy.answers)
    assert tiny_server.credits()["spent"] == before + 5
    assert tiny_server.finished(accepted.job_id)["status"] == "SUCCESS"


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_is_cut_anywhere_loses_and_doubles_nothing(
    tiny_server: Server, client: Client, kind: str
) -> None:
    job_id = finished_job(client)
    expected = [event.seq for event in client.events(job_id).events]
    with cutting_proxy(tiny_server.url) as proxy:
        assert [event.seq for event in follow(kind, proxy.url, tiny_server.key, job_id)] == expected
        length = len(proxy.answers[0])
    for cut in range(0, length, 53):
        with cutting_proxy(tiny_server.url, cuts=[cut]) as proxy:
            found = [event.seq for event in follow(kind, proxy.url, tiny_server.key, job_id)]
            assert found == expected, f"cut after {cut} of {length} bytes"
            assert len(proxy.requests) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_running_job_is_followed_through_cuts(slow_server: Server, kind: str) -> None:
    job_id = slow_server.submit()
    chance = random.Random(kind)
    cuts = [chance.randrange(300, 3_000) for _ in range(12)]
    with cutting_proxy(slow_server.url, cuts) as proxy:
        found = follow(kind, proxy.url, slow_server.key, job_id)
        assert len(proxy.requests) > 3
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    assert sum(event.stage == "denoising" for event in found) == 80
    assert found[-1].event_type is EventType.SUCCEEDED


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_polled_where_streams_do_not_come_through(tiny_server: Server, client: Client, kind: str) -> None:
    job_id = finished_job(client)
    expected = [event.seq for event in client.events(job_id).events]
    with cutting_proxy(tiny_server.url, rewrite=(b"text/event-stream", b"application/x-any")) as proxy:
        assert [event.seq for event in follow(kind, proxy.url, tiny_server.key, job_id)] == expected
        assert b"events?since=0" in b"".join(proxy.requests)
    with cutting_proxy(tiny_server.url) as proxy:
        follow(kind, proxy.url, tiny_server.key, job_id)
        header = proxy.answers[0].index(b"\r\n\r\n") + 4
    with cutting_proxy(tiny_server.url, cuts=[header, header]) as proxy:
        assert [event.seq for event in follow(kind, proxy.url, tiny_server.key, job_id)] == expected
        assert [b"text/event-stream" in request for request in proxy.requests[:3]] == [True, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_following_ends_when_all_was_seen_before(tiny_server: Server, client: Client, kind: str) -> None:
    job_id = finished_job(client)
    latest = client.events(job_id).latest_seq
    assert follow(kind, tiny_server.url, tiny_server.key, job_id, since=latest) == []
    assert [event.seq for event in follow(kind, tiny_server.url, tiny_server.key, job_id, since=latest - 2)] == [
        latest - 1,
        latest,
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_has_an_end(slow_server: Server, kind: str) -> None:
    slow_server.submit()
    job_id = slow_server.submit()
    begun = time.monotonic()
    with pytest.raises(WaitTimeout, match=r"within 0\.3 s"):
        follow(kind, slow_server.url, slow_server.key, job_id, timeout_s=0.3)
    assert time.monotonic() - begun >= 0.3
    assert len(follow(kind, slow_server.url, slow_server.key, job_id, timeout_s=60)) > 80


def test_a_full_queue_is_waited_for(slow_server: Server) -> None:
    """Submit jobs until one is refused, with one running and three waiting; then submit again, as long as Retry-After says."""
    with Client(slow_server.url, slow_server.key, retries=Retries(total_s=0)) as client:
        accepted = []
        with pytest.raises(Unavailable) as caught:
            for _ in range(20):
                accepted.append(client.submit(SPEC).job_id)
        assert caught.value.code == "QUEUE_FULL"
        assert caught.value.retry_after_s is not None
    with Client(slow_server.url, slow_server.key, retries=Retries(total_s=60)) as client:
        accepted.append(client.submit(SPEC).job_id)
        for job_id in accepted:
            client.wait(job_id)


def test_cancelling(slow_server: Server) -> None:
    with Client(slow_server.url, slow_server.key) as client:
        before = client.credits().balance
        running, waiting = (client.submit(SPEC).job_id for _ in range(2))
        assert client.cancel(waiting).failure_reason == "cancelled"
        assert client.cancel(waiting).failure_reason == "cancelled"
        client.cancel(running)
        with pytest.raises(JobFailed, match="ancel"):
            client.wait(running)
        assert client.credits().balance == before
        done = client.wait(client.submit(SPEC).job_id)
        with pytest.raises(Conflict):
            client.cancel(done.public_id)


def test_a_cancel_is_repeated_while_the_server_is_busy(light_server: Server) -> None:
    """Lock the database until the first answer is there; the next request does what that answer promised."""
    before = light_server.credits()["balance"]
    job_id = light_server.submit(scene_type="endless")
    wait_for(lambda: light_server.job(job_id)["status"] == "IN_PROGRESS")
    with cutting_proxy(light_server.url) as proxy, ThreadPoolExecutor(1) as thread:
        with locked(light_server.data / "backlot.db"):
            cancelled = thread.submit(cancel, "sync", proxy.url, light_server.key, job_id)
            wait_for(lambda: any(answer.startswith(b"HTTP/1.1 503") for answer in proxy.answers))
        assert cancelled.result(60).failure_reason == "cancelled"
    assert light_server.credits()["balance"] == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_promised_cancel_is_asked_for_until_it_is_done(client: Client, kind: str) -> None:
    """Ask a server that answers 503 to each repetition, and 200 once the refund is written."""
    done = client.job(finished_job(client))
    busy = {"error": {"code": "BUSY", "message": "The job is cancelled, but its refund follows", "request_id": "01ID"}}
    script = [(503, msgspec.json.encode(busy))] * 3 + [(200, msgspec.json.encode(done))]
    asked: list[str] = []

    class Scripted(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            status, body = script[len(asked) - 1]
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert cancel(kind, f"http://127.0.0.1:{server.server_port}", "key", done.public_id) == done
        server.shutdown()
    assert asked == [f"/v1/jobs/{done.public_id}/cancel"] * 4


def cancel(kind: str, url: str, key: str, job_id: str) -> Job:
    if kind == "sync":
        with Client(url, key) as client:
            return client.cancel(job_id)

    async def go() -> Job:
        async with AsyncClient(url, key) as client:
            return await client.cancel(job_id)

    return asyncio.run(go())


@pytest.mark.parametrize("cut", [0, 500, 100_000])
def test_a_download_that_is_cut_is_fetched_again(tiny_server: Server, client: Client, tmp_path: Path, cut: int) -> None:
    image = client.job(finished_job(client)).images[0]
    whole = client.download(str(image.image_url), tmp_path / "whole.png").read_bytes()
    with cutting_proxy(tiny_server.url, cuts=[cut, cut]) as proxy:
        link = str(image.image_url).replace(tiny_server.url, proxy.url)
        path = client.download(link, tmp_path / "cut.png")
        assert path.read_bytes() == whole
        assert b"Authorization" not in b"".join(proxy.requests)
    with cutting_proxy(tiny_server.url, cuts=[cut]) as proxy:
        link = str(image.image_url).replace(tiny_server.url, proxy.url)
        impatient = Client(tiny_server.url, tiny_server.key, retries=Retries(total_s=0))
        with pytest.raises((Unreachable, IncompleteDownload)), impatient:
            impatient.download(link, tmp_path / "never.png")
    assert {path.name for path in tmp_path.iterdir()} == {"whole.png", "cut.png"}


def test_a_bad_link_is_told_and_leaves_no_file(client: Client, tmp_path: Path) -> None:
    image = client.job(finished_job(client)).images[0]
    with pytest.raises(Forbidden):
        client.download(f"{image.image_url}x", tmp_path / "never.png")
    assert list(tmp_path.iterdir()) == []


def test_a_restart_of_the_server_is_borne(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    """Kill the server while a job runs; its events go on, each once, when the server is back."""
    models = models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]}, steps=150, max_batch=1)
    server = start_server(models)
    port = server.url.rpartition(":")[2]
    server.environment["BACKLOT_PORT"] = port
    found: list[JobEvent] = []
    with Client(server.url, server.key) as client:
        job_id = client.submit(SPEC).job_id
        follower = threading.Thread(target=lambda: found.extend(client.follow(job_id)))
        follower.start()
        wait_for(lambda: server.job(job_id)["progress"] > 0.1)
        server.stop(signal.SIGKILL)
        server.start()
        follower.join(90)
        assert not follower.is_alive()
        assert [event.seq for event in found] == [event.seq for event in client.events(job_id).events]
        assert client.job(job_id).status is JobStatus.SUCCESS
        assert client.credits().spent == 5
