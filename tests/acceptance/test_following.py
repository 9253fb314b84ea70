"""Following jobs: one until its end, many at once, and all of a client's in one stream."""

import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.ledger.connection import connect, migrate
from tests.support.server import ServerWithoutGpu, wait_for

NOWHERE = "01J00000000000000000000000"


def test_wait_answers_when_the_job_has_ended(light_server: ServerWithoutGpu) -> None:
    job = light_server.client.get(f"/v1/jobs/{light_server.submit()}", params={"wait": 60}).json()
    assert job["status"] == "SUCCESS"
    assert job["result"]
    endless = light_server.submit(scene_type="endless")
    began = time.monotonic()
    waiting = light_server.client.get(f"/v1/jobs/{endless}", params={"wait": 0.5}).json()
    assert waiting["status"] == "IN_PROGRESS"
    assert 0.5 <= time.monotonic() - began < 5
    threading.Timer(0.3, light_server.client_of(light_server.key).post, [f"/v1/jobs/{endless}/cancel"]).start()
    assert light_server.client.get(f"/v1/jobs/{endless}", params={"wait": 30}).json()["status"] == "FAILURE"
    assert light_server.client.get(f"/v1/jobs/{endless}", params={"wait": 61}).status_code == 422
    assert light_server.client.get(f"/v1/jobs/{NOWHERE}", params={"wait": 30}).status_code == 404


def test_many_jobs_at_once(light_server: ServerWithoutGpu) -> None:
    client, other = light_server.new_client("many"), light_server.new_client("many-other")
    ids = [light_server.submit(client, seed=number) for number in range(60)]
    stranger = light_server.submit(other)
    page = client.get("/v1/jobs", params={"ids": [*ids, stranger, NOWHERE]}).json()
    assert [job["public_id"] for job in page["jobs"]] == ids[::-1]
    assert (page["count"], page["total"]) == (60, 60)
    assert set(page["jobs"][0]) == {"public_id", "job_type", "status", "created_at"}
    for job_id in ids:
        light_server.finished(job_id, client)
    whole = client.get("/v1/jobs", params={"ids": ids[:3], "expand": "result"}).json()
    assert whole["jobs"] == [
        {**client.get(f"/v1/jobs/{job_id}").json(), "result": job["result"], "latest_event": job["latest_event"]}
        for job_id, job in zip(ids[2::-1], whole["jobs"], strict=True)
    ]
    assert all(job["result"][0]["image_url"] for job in whole["jobs"])
    page = client.get("/v1/jobs", params={"ids": ids, "limit": 10, "offset": 55, "status": "SUCCESS"}).json()
    assert (page["limit"], page["count"], page["total"]) == (10, 5, 60)
    assert client.get("/v1/jobs", params={"limit": 7}).json()["total"] == 60
    assert client.get("/v1/jobs", params={"ids": [NOWHERE] * 200}).json()["total"] == 0
    assert client.get("/v1/jobs", params={"ids": [NOWHERE] * 201}).status_code == 422
    assert client.get("/v1/jobs", params={"expand": "everything"}).status_code == 422


def pages(client: httpx.Client, since: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return every event after a cursor, and the last cursor."""
    events: list[dict[str, Any]] = []
    while True:
        page = client.get("/v1/events", params={"since": since}).json()
        since = page["latest_cursor"]
        events += page["events"]
        if not page["events"]:
            return events, since


def test_the_events_of_all_jobs(light_server: ServerWithoutGpu) -> None:
    client, other = light_server.new_client("follower"), light_server.new_client("follower-other")
    assert client.get("/v1/events").json() == {"events": [], "latest_cursor": 0}
    ids = [light_server.submit(client, seed=number) for number in range(3)]
    light_server.finished(light_server.submit(other), other)
    for job_id in ids:
        light_server.finished(job_id, client)
    events, latest = pages(client)
    cursors = [event["cursor"] for event in events]
    assert cursors == sorted(set(cursors))
    assert latest == cursors[-1]
    for job_id in ids:
        own = [event for event in events if event["job_public_id"] == job_id]
        told = client.get(f"/v1/jobs/{job_id}/events").json()["events"]
        assert [event["seq"] for event in own] == [event["seq"] for event in told]
        assert own[-1]["event_type"] == "succeeded"
        assert httpx.get(own[-1]["artifacts"][0]["image_url"]).status_code == 200
    assert {event["job_public_id"] for event in events} == set(ids)
    assert client.get("/v1/events", params={"since": latest}).json() == {"events": [], "latest_cursor": latest}
    assert [event["cursor"] for event in pages(client, cursors[4])[0]] == cursors[5:]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/jobs/{job_id}/events"])
@pytest.mark.parametrize("how", ["revoke", "disable"])
def test_a_stream_ends_with_its_key(light_server: ServerWithoutGpu, path: str, how: str) -> None:
    name = f"{how} {path.count('/')}"
    client = light_server.new_client(name)
    job_id = light_server.submit(client, scene_type="endless")
    streaming = {"Accept": "text/event-stream"}
    with client.stream("GET", path.format(job_id=job_id), headers=streaming, timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines)
        command = ("keys", "revoke", name) if how == "revoke" else ("clients", "disable", name)
        assert light_server.backlot(*command).returncode == 0
        light_server.backlot("jobs", "cancel", job_id)
        assert "event: failed" not in list(lines)


def test_waiting_for_the_next_event_of_any_job(light_server: ServerWithoutGpu) -> None:
    client = light_server.new_client("waiter")
    threading.Timer(0.3, light_server.submit, [light_server.client_of(client.headers["Authorization"][7:])]).start()
    began = time.monotonic()
    page = client.get("/v1/events", params={"wait": 20}).json()
    assert page["events"][0]["event_type"] == "queued"
    assert time.monotonic() - began < 5
    quiet = client.get("/v1/events", params={"wait": 0.3, "since": 2**53 - 1}).json()
    assert quiet["events"] == []


def test_following_from_now_on(light_server: ServerWithoutGpu) -> None:
    client = light_server.new_client("latecomer")
    earlier = light_server.submit(client)
    light_server.finished(earlier, client)
    _, latest = pages(client)
    now = client.get("/v1/events", params={"since": "latest"}).json()
    assert now == {"events": [], "latest_cursor": latest}
    threading.Timer(0.3, light_server.submit, [light_server.client_of(client.headers["Authorization"][7:])]).start()
    page = client.get("/v1/events", params={"since": "latest", "wait": 20}).json()
    assert page["events"][0]["event_type"] == "queued"
    assert page["events"][0]["job_public_id"] != earlier
    for odd in ("last", "-1", "9" * 20):
        refused = client.get("/v1/events", params={"since": odd})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["query", "since"]


def test_a_stream_from_now_on_resumes_at_the_event_seen_last(light_server: ServerWithoutGpu) -> None:
    client = light_server.new_client("late streamer")
    light_server.finished(light_server.submit(client), client)
    _, latest = pages(client)
    threading.Timer(0.5, light_server.submit, [light_server.client_of(client.headers["Authorization"][7:])]).start()
    events = streamed(client, until=1, path="/v1/events?since=latest")
    assert events[0][0] > latest
    assert events[0][1]["event_type"] == "queued"
    resumed = streamed(client, until=1, path="/v1/events?since=latest", **{"Last-Event-ID": str(events[0][0])})
    assert resumed == events[1:]


def streamed(
    client: httpx.Client, until: int, path: str = "/v1/events", **headers: str
) -> list[tuple[int, dict[str, Any]]]:
    """Return the ids and events of a stream, up to the given number of jobs' ends."""
    found: list[tuple[int, dict[str, Any]]] = []
    number = 0
    with client.stream("GET", path, headers={"Accept": "text/event-stream", **headers}) as response:
        for line in response.iter_lines():
            if line.startswith("id:"):
                number = int(line[3:])
            if line.startswith("data:"):
                found.append((number, json.loads(line[5:])))
                until -= found[-1][1]["event_type"] in ("succeeded", "failed")
            if not until:
                break
    return found


def test_a_stream_of_all_jobs_goes_on_and_resumes_across_restarts(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    for number in range(3):
        threading.Timer(0.2 * number, server.submit).start()
    events = streamed(server.client, until=3)
    assert all(number == event["cursor"] for number, event in events)
    server.stop()
    server.start(wait_ready=False)
    server.client = server.client_of(server.key)
    resumed = streamed(server.client, until=1, **{"Last-Event-ID": str(events[1][0])})
    assert [number for number, _ in resumed] == [number for number, _ in events[2 : 2 + len(resumed)]]
    # A waiting stream does not delay a stop.
    ended: list[httpx.HTTPError | None] = []

    def follow_for_ever() -> None:
        try:
            streamed(server.client, until=99)
            ended.append(None)
        except httpx.HTTPError as error:
            ended.append(error)

    waiting = threading.Thread(target=follow_for_ever)
    waiting.start()
    wait_for(lambda: server.client_of(server.key).get("/healthz").status_code == 200)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 10
    waiting.join(10)
    assert len(ended) == 1


def test_a_stream_resumed_from_beyond_the_last_event_has_those_that_come(light_server: ServerWithoutGpu) -> None:
    client = light_server.new_client("ahead of its ledger")
    threading.Timer(1.0, light_server.submit, [client]).start()
    events = streamed(client, until=1, **{"Last-Event-ID": "999999999"})
    assert events[0][1]["event_type"] == "queued"


def test_the_events_of_an_older_database_are_numbered_in_order(tmp_path: Path) -> None:
    path = tmp_path / "backlot.db"
    migrate(path)
    old = sqlite3.connect(path)
    # Restore the schema as it was before, with two jobs whose events alternate.
    old.executescript(
        """
        DROP TABLE events;
        CREATE TABLE events (
            job_id INTEGER NOT NULL REFERENCES jobs(id), seq INTEGER NOT NULL, event_type TEXT NOT NULL, stage TEXT,
            message TEXT NOT NULL, with_artifacts INTEGER NOT NULL DEFAULT 0, extra TEXT NOT NULL,
            created_at TEXT NOT NULL, PRIMARY KEY (job_id, seq)
        ) STRICT, WITHOUT ROWID;
        DELETE FROM _sqlite_migrations WHERE name = 'm004_events_of_a_client';
        INSERT INTO clients (id, public_id, name, test, created_at) VALUES (1, 'c', 'c', 0, '');
        INSERT INTO jobs (id, public_id, client_id, job_type, status, request, plan, credits_cost, created_at)
            VALUES (1, 'a', 1, 't', 'SUCCESS', '{}', '{}', 0, ''), (2, 'b', 1, 't', 'SUCCESS', '{}', '{}', 0, '');
        INSERT INTO events (job_id, seq, event_type, message, extra, created_at) VALUES
            (1, 1, 'queued', '', '{}', '10'), (1, 2, 'stage', '', '{}', '30'), (1, 3, 'succeeded', '', '{}', '20'),
            (2, 1, 'queued', '', '{}', '15'), (2, 2, 'succeeded', '', '{}', '40');
        """
    )
    old.close()
    migrate(path)
    connection = connect(path)
    rows = connection.execute("SELECT client_id, job_id, seq FROM events ORDER BY cursor").fetchall()
    connection.close()
    assert [tuple(row) for row in rows] == [(1, 1, 1), (1, 2, 1), (1, 1, 2), (1, 1, 3), (1, 2, 2)]
