"""The wire contract over real HTTP, with real GPU processes and tiny genuine pipelines."""

import base64
import hashlib
import hmac
import json
import re
import sqlite3
import threading
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.support.server import SPEC, Server, StartServer, wait_for

ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


def post(server: Server, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.client.post("/v1/background-generator", content=content, headers=headers)


def test_the_whole_way(tiny_server: Server) -> None:
    before = tiny_server.credits()["balance"]
    accepted = post(tiny_server, {**SPEC, "dominant_colors": ["Navy", "#FFF"], "seed": 7, "metadata": {"shot": 12}})
    assert accepted.status_code == 202
    body = accepted.json()
    assert set(body) == {"request_id", "job_id", "status", "credits_cost"}
    assert (body["status"], body["credits_cost"]) == ("NOT_STARTED", 5)
    assert accepted.headers["X-Request-Id"] == body["request_id"]
    assert tiny_server.credits()["balance"] == before - 5

    job = tiny_server.finished(body["job_id"])
    assert job["status"] == "SUCCESS"
    assert job["request"]["metadata"] == {"shot": 12}
    assert job["latest_event"]["event_type"] == "succeeded"
    (artifact,) = job["result"]
    assert (artifact["kind"], artifact["role"]) == ("catalog_image", "final")
    meta = artifact["meta"]
    assert (meta["seed"], meta["model"], meta["width"], meta["height"], meta["steps"]) == (7, "good", 512, 512, 3)
    assert artifact["label"] == "Warm marble in navy and white"

    picture = httpx.get(artifact["image_url"])
    assert picture.headers["content-type"] == "image/png"
    (tiny_server.data / "fetched.png").write_bytes(picture.content)
    with Image.open(tiny_server.data / "fetched.png") as image:
        assert image.size == (512, 512)
        assert json.loads(image.text["backlot"])["seed"] == 7  # type: ignore[attr-defined]

    entry = tiny_server.client.get("/v1/catalog/backgrounds", params={"scene_type": "marble", "limit": 1}).json()[0]
    assert entry["generation_job_public_id"] == body["job_id"]
    assert entry["spec"]["dominant_colors"] == ["Navy", "#FFF"]
    assert tiny_server.client.get(f"/v1/catalog/backgrounds/{entry['public_id']}").json()["spec"] == entry["spec"]
    assert httpx.get(entry["image_url"]).content == picture.content


def test_events_ascend_and_tell_every_step(tiny_server: Server) -> None:
    job_id = tiny_server.submit()
    tiny_server.finished(job_id)
    page = tiny_server.client.get(f"/v1/jobs/{job_id}/events").json()
    events = page["events"]
    assert [event["seq"] for event in events] == list(range(1, page["latest_seq"] + 1))
    assert events[0]["event_type"] == "queued"
    assert events[-1]["event_type"] == "succeeded"
    assert events[-1]["artifacts"][0]["image_url"].startswith(tiny_server.url)
    steps = [event["extra"] for event in events if event["stage"] == "denoising"]
    assert steps == [{"step": step, "steps": 3} for step in (1, 2, 3)]
    rest = tiny_server.client.get(f"/v1/jobs/{job_id}/events", params={"since": 2}).json()["events"]
    assert rest == [{**event, "artifacts": rest[index]["artifacts"]} for index, event in enumerate(events[2:])]
    nothing = tiny_server.client.get(f"/v1/jobs/{job_id}/events", params={"since": page["latest_seq"], "wait": 5})
    assert nothing.json() == {"public_id": job_id, "events": [], "latest_seq": page["latest_seq"]}


def test_wait_holds_the_answer_until_there_is_news(tiny_server: Server) -> None:
    job_id = tiny_server.submit()
    since, kinds = 0, []
    while "succeeded" not in kinds:
        page = tiny_server.client.get(f"/v1/jobs/{job_id}/events", params={"since": since, "wait": 30}).json()
        assert page["events"], "a wait of 30 s ended with nothing new"
        kinds += [event["event_type"] for event in page["events"]]
        since = page["latest_seq"]


def stream(server: Server, job_id: str, **headers: str) -> list[dict[str, Any]]:
    events = []
    with server.client.stream(
        "GET", f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream", **headers}
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("data:"):
                events.append(json.loads(line.removeprefix("data:")))
    return events


def test_a_stream_has_every_event_and_ends(tiny_server: Server) -> None:
    job_id = tiny_server.submit()
    streamed = stream(tiny_server, job_id)
    page = tiny_server.client.get(f"/v1/jobs/{job_id}/events").json()
    assert [event["seq"] for event in streamed] == [event["seq"] for event in page["events"]]
    assert streamed[-1]["event_type"] == "succeeded"
    resumed = stream(tiny_server, job_id, **{"Last-Event-ID": "3"})
    assert [event["seq"] for event in resumed] == [event["seq"] for event in streamed[3:]]


BAD_SPECS: list[tuple[str, Any, list[list[Any]]]] = [
    ("empty", {}, [["body", "scene_type"], ["body", "mood"]]),
    ("array", [], [["body"]]),
    ("types", {"scene_type": 1, "mood": None, "seed": "512"}, [["body", "seed"], ["body", "scene_type"], ["body", "mood"]]),
    ("blank", {**SPEC, "scene_type": "   "}, [["body", "scene_type"]]),
    ("long", {**SPEC, "mood": "x" * 201, "display_name": "y" * 201}, [["body", "display_name"], ["body", "mood"]]),
    ("colours", {**SPEC, "dominant_colors": ["red", "bluish", "#12345", 5]}, [["body", "dominant_colors", index] for index in (3, 1, 2)]),
    ("colour", {**SPEC, "dominant_colors": ["bluish", "#12"]}, [["body", "dominant_colors", 0], ["body", "dominant_colors", 1]]),
    ("nine", {**SPEC, "dominant_colors": ["red"] * 9}, [["body", "dominant_colors"]]),
    ("unknown", {**SPEC, "sed": 7}, [["body", "sed"]]),
    ("model", {**SPEC, "image_model": "midjourney"}, [["body", "image_model"]]),
    ("tier", {**SPEC, "resolution": "4K"}, [["body", "resolution"]]),
    ("ratio", {**SPEC, "aspect_ratio": "7:5"}, [["body", "aspect_ratio"]]),
    ("negative seed", {**SPEC, "seed": -1}, [["body", "seed"]]),
    ("huge seed", {**SPEC, "seed": 2**53}, [["body", "seed"]]),
    ("float seed", {**SPEC, "seed": 1.5}, [["body", "seed"]]),
    ("mode", {**SPEC, "on_technical_failure": "ignore"}, [["body", "on_technical_failure"]]),
    ("metadata", {**SPEC, "metadata": {"note": "x" * 17_000}}, [["body", "metadata"]]),
    ("metadata type", {**SPEC, "metadata": []}, [["body", "metadata"]]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "places"), [case[1:] for case in BAD_SPECS], ids=[case[0] for case in BAD_SPECS])
def test_a_bad_spec_is_told_whole_and_costs_nothing(tiny_server: Server, body: Any, places: list[list[Any]]) -> None:
    before = tiny_server.credits()
    response = post(tiny_server, body)
    assert response.status_code == 422
    answer = response.json()
    assert [detail["loc"] for detail in answer["detail"]] == places
    assert all(detail["msg"] and detail["type"] for detail in answer["detail"])
    assert answer["error"]["code"] == "VALIDATION_ERROR"
    assert answer["error"]["request_id"] == response.headers["X-Request-Id"]
    assert tiny_server.credits() == before


@pytest.mark.parametrize("body", [b"", b"{", b'{"scene_type": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_said_to_be_so(tiny_server: Server, body: bytes) -> None:
    response = post(tiny_server, body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["type"] == "json_invalid"


def test_a_body_above_1_mib_is_refused(tiny_server: Server) -> None:
    response = post(tiny_server, {**SPEC, "metadata": {"note": "x" * 1_100_000}})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v1/jobs?limit=0", ["query", "limit"]),
        ("/v1/jobs?limit=201", ["query", "limit"]),
        ("/v1/jobs?offset=-1", ["query", "offset"]),
        ("/v1/jobs?status=DONE", ["query", "status"]),
        ("/v1/jobs?created_after=yesterday", ["query", "created_after"]),
        ("/v1/transactions?kind=gifts", ["query", "kind"]),
    ],
)
def test_a_bad_query_is_a_422(tiny_server: Server, path: str, place: list[str]) -> None:
    response = tiny_server.client.get(path)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == place


def test_the_header_and_the_body_are_told_together(tiny_server: Server) -> None:
    response = post(tiny_server, {"scene_type": "a"}, **{"Idempotency-Key": "a b"})
    assert [error["loc"] for error in response.json()["detail"]] == [["header", "Idempotency-Key"], ["body", "mood"]]


def test_a_flood_of_problems_is_cut_short(tiny_server: Server) -> None:
    response = post(tiny_server, {**SPEC, "dominant_colors": [1] * 50_000, **{f"x{i}": 1 for i in range(5000)}})
    assert response.status_code == 422
    assert len(response.json()["detail"]) <= 200


def test_metadata_nested_too_deeply_is_a_422(tiny_server: Server) -> None:
    for depth in (65, 500, 966, 967, 968, 2000):
        metadata = "".join(['{"a":'] * depth) + "1" + "}" * depth
        body = f'{{"scene_type": "a", "mood": "b", "metadata": {metadata}}}'.encode()
        assert post(tiny_server, body).status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs?created_after=0001-01-01T00:00:00%2B14:00",
        "/v1/jobs?created_after=0999-01-01T00:00:00Z",
        "/v1/usage?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59-10:00",
    ],
)
def test_times_at_the_edge_of_the_calendar(tiny_server: Server, path: str) -> None:
    tiny_server.finished(tiny_server.submit())
    response = tiny_server.client.get(path)
    assert response.status_code == 200
    assert response.json()["jobs"]


def test_a_link_without_its_parts_is_a_422(tiny_server: Server) -> None:
    response = tiny_server.client.get("/images/x.png")
    assert response.status_code == 422
    assert [detail["loc"] for detail in response.json()["detail"]] == [["query", "expires"], ["query", "signature"]]


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer sk_live_no", "Basic abc"])
def test_a_bad_key_is_a_401(tiny_server: Server, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = httpx.get(f"{tiny_server.url}/v1/jobs", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "UNAUTHORIZED"


def test_keys_reach_only_their_own_client(tiny_server: Server) -> None:
    job_id = tiny_server.submit()
    tiny_server.finished(job_id)
    other = tiny_server.new_client("other", 10, test=True)
    assert str(other.headers["Authorization"]).startswith("Bearer sk_test_")
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/events", "/v1/jobs/01J00000000000000000000000"):
        assert other.get(path).json()["error"]["code"] == "JOB_NOT_FOUND"
    assert other.post(f"/v1/jobs/{job_id}/cancel").status_code == 404
    assert other.get("/v1/jobs").json()["jobs"] == []
    assert other.get("/v1/catalog/backgrounds").json() == []
    assert other.get("/v1/credits").json()["balance"] == 10


def test_a_key_without_the_capability_is_a_403(tiny_server: Server) -> None:
    reader = tiny_server.client_of(
        tiny_server.backlot("keys", "add", "studio", "--capability", "jobs:read").stdout.strip()
    )
    assert reader.get("/v1/jobs").status_code == 200
    refused = reader.post("/v1/background-generator", json=SPEC)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")
    assert reader.post("/v1/jobs/01J00000000000000000000000/cancel").status_code == 403


def test_a_revoked_key_is_refused_at_once(tiny_server: Server) -> None:
    client = tiny_server.new_client("leaving", 5)
    assert client.get("/v1/credits").status_code == 200
    key = str(client.headers["Authorization"]).removeprefix("Bearer ")
    assert tiny_server.backlot("keys", "revoke", key).returncode == 0
    assert client.get("/v1/credits").status_code == 401


def test_signatures(tiny_server: Server) -> None:
    client = tiny_server.new_client("signing", 50)
    body = json.dumps(SPEC).encode()

    def send(signature: str) -> httpx.Response:
        return client.post("/v1/background-generator", content=body, headers={"X-Shopify-Hmac-Sha256": signature})

    assert send("AAAA").json()["error"]["code"] == "BAD_SIGNATURE"
    secret = tiny_server.backlot("clients", "secret", "signing").stdout.strip()
    good = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    assert send(good).status_code == 202
    assert send("AAAA").status_code == 401
    assert client.get("/v1/credits").json()["spent"] == 5


def test_without_credits_there_is_no_job(tiny_server: Server) -> None:
    poor = tiny_server.new_client("poor", 4)
    response = poor.post("/v1/background-generator", json=SPEC)
    assert (response.status_code, response.json()["error"]["code"]) == (402, "INSUFFICIENT_BALANCE")
    assert poor.get("/v1/credits").json() == {"balance": 4, "granted": 4, "spent": 0, "refunded": 0}
    assert poor.get("/v1/jobs").json()["count"] == 0


def test_idempotency(tiny_server: Server) -> None:
    before = tiny_server.credits()["spent"]
    first = post(tiny_server, {**SPEC, "seed": 1}, **{"Idempotency-Key": "render-1"})
    again = post(tiny_server, {**SPEC, "seed": 1}, **{"Idempotency-Key": "render-1"})
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
    other = post(tiny_server, {**SPEC, "seed": 2}, **{"Idempotency-Key": "render-1"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert tiny_server.credits()["spent"] == before + 5
    bad = post(tiny_server, SPEC, **{"Idempotency-Key": "x" * 256})
    assert bad.json()["detail"][0]["loc"] == ["header", "Idempotency-Key"]


def test_twenty_at_once_with_one_idempotency_key_charge_once(tiny_server: Server) -> None:
    before = tiny_server.credits()["spent"]
    answers: list[dict[str, Any]] = []

    def send() -> None:
        answers.append(post(tiny_server, SPEC, **{"Idempotency-Key": "all-at-once"}).json())

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["job_id"] for answer in answers}) == 1
    assert tiny_server.credits()["spent"] == before + 5


def test_sizes_follow_tier_and_ratio(tiny_server: Server) -> None:
    jobs = {ratio: tiny_server.submit(aspect_ratio=ratio, resolution="0.5K") for ratio in ("16:9", "9:16", "21:9")}
    sizes = {}
    for ratio, job_id in jobs.items():
        meta = tiny_server.finished(job_id)["result"][0]["meta"]
        sizes[ratio] = (meta["width"], meta["height"])
    assert sizes == {"16:9": (672, 384), "9:16": (384, 672), "21:9": (768, 320)}


def test_listing_jobs(tiny_server: Server) -> None:
    client = tiny_server.new_client("lister", 100)
    ids = [tiny_server.submit(client) for _ in range(3)]
    page = client.get("/v1/jobs", params={"limit": 2}).json()
    assert [job["public_id"] for job in page["jobs"]] == ids[:0:-1]
    assert (page["limit"], page["offset"], page["count"]) == (2, 0, 2)
    assert set(page["jobs"][0]) == {"public_id", "job_type", "status", "created_at"}
    assert client.get("/v1/jobs", params={"offset": 2}).json()["jobs"][0]["public_id"] == ids[0]
    two = {"job_type": ["BACKGROUND_GENERATOR", "COMPOSE"]}
    assert client.get("/v1/jobs", params=two).json()["count"] == 3
    assert client.get("/v1/jobs", params={"job_type": "COMPOSE"}).json()["count"] == 0
    first = tiny_server.job(ids[0], client)["created_at"]
    assert client.get("/v1/jobs", params={"created_after": first}).json()["count"] == 2
    for job_id in ids:
        tiny_server.finished(job_id, client)
    assert client.get("/v1/jobs", params={"status": "SUCCESS"}).json()["count"] == 3


def test_money_adds_up(tiny_server: Server) -> None:
    client = tiny_server.new_client("payer", 40)
    good = tiny_server.submit(client)
    bad = tiny_server.submit(client, image_model="black")
    for job_id in (good, bad):
        tiny_server.finished(job_id, client)
    assert client.get("/v1/credits").json() == {"balance": 35, "granted": 40, "spent": 10, "refunded": 5}
    page = client.get("/v1/transactions").json()
    assert [(item["kind"], item["credits_delta"], item["status"]) for item in page["items"]] == [
        ("operation", 0, "REFUNDED"),
        ("operation", -5, "SUCCESS"),
        ("pack", 40, "PURCHASED"),
    ]
    assert (page["total"], page["limit"], page["offset"]) == (3, 50, 0)
    assert [i["kind"] for i in client.get("/v1/transactions", params={"kind": "purchases"}).json()["items"]] == ["pack"]
    assert client.get("/v1/transactions", params={"kind": "spend"}).json()["total"] == 2
    usage = client.get("/v1/usage").json()
    assert usage["jobs"] == {"SUCCESS": 1, "FAILURE": 1}
    assert (usage["credits_spent"], usage["images"]) == (5, 1)
    assert [(day["jobs"], day["credits"]) for day in usage["by_day"]] == [(2, 5)]
    later = client.get("/v1/usage", params={"since": "2100-01-01T00:00:00Z"}).json()
    assert (later["requests"], later["by_day"]) == (0, [])


def test_operations_and_models(tiny_server: Server) -> None:
    operations = tiny_server.client.get("/v1/operations").json()["operations"]
    fields = ("name", "op_class", "credits_cost", "enabled")
    assert [tuple(operation[field] for field in fields) for operation in operations] == [
        ("background-generator", "generator", 5, True),
        ("image-generation", "generator", 5, True),
    ]
    listed = {model["name"]: model for model in tiny_server.client.get("/v1/models").json()["models"]}
    assert set(listed) == {"good", "nan", "black", "flat", "exact"}
    assert listed["good"]["tiers"] == ["0.5K"]
    assert listed["good"]["licence"] == "made for tests"


def test_renders_are_empty(tiny_server: Server) -> None:
    assert tiny_server.client.get("/v1/renders").json()["renders"] == []
    missing = tiny_server.client.get("/v1/renders/01J00000000000000000000000")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")


def test_links_are_signed(tiny_server: Server) -> None:
    job_id = tiny_server.submit()
    url = httpx.URL(tiny_server.finished(job_id)["result"][0]["image_url"])
    assert httpx.get(url).status_code == 200
    for change in ({"expires": "9999999999"}, {"signature": "A" * 32}):
        refused = httpx.get(url.copy_merge_params(change))
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "LINK_EXPIRED")
    other = tiny_server.finished(tiny_server.submit())["result"][0]["image_url"]
    assert httpx.get(httpx.URL(other).copy_with(query=url.query)).status_code == 403


def test_the_request_log_keeps_the_accepted_and_the_rejected(tiny_server: Server) -> None:
    accepted = post(tiny_server, {**SPEC, "metadata": {"secret": "hush"}})
    rejected = post(tiny_server, {})
    httpx.get(f"{tiny_server.url}/v1/jobs", headers={"Authorization": "Bearer sk_live_wrong"})
    rows = json.loads(tiny_server.backlot("requests", "--limit", "5", "--json").stdout)
    by_id = {row["id"]: row for row in rows}
    kept = by_id[accepted.json()["request_id"]]
    assert (kept["status"], kept["credits"], kept["job_id"]) == (202, 5, accepted.json()["job_id"])
    assert kept["client"] == "studio"
    assert by_id[rejected.headers["X-Request-Id"]]["error_code"] == "VALIDATION_ERROR"
    assert rows[0]["error_code"] == "UNAUTHORIZED"
    assert rows[0]["client"] is None
    everything = json.dumps(rows)
    assert tiny_server.key not in everything
    assert "hush" not in everything


def test_unknown_routes_and_methods_have_the_envelope(tiny_server: Server) -> None:
    for method, path, status, code in (
        ("GET", "/v1/nowhere", 404, "NOT_FOUND"),
        ("DELETE", "/v1/jobs", 405, "METHOD_NOT_ALLOWED"),
    ):
        response = tiny_server.client.request(method, path)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        assert ULID.fullmatch(response.headers["X-Request-Id"])


def test_health_metrics_and_schema(tiny_server: Server) -> None:
    assert tiny_server.client.get("/healthz").json() == {"status": "ok"}
    ready = tiny_server.client.get("/readyz").json()
    assert ready["ready"] is True
    tiny_server.finished(tiny_server.submit())
    metrics = tiny_server.client.get("/metrics").text
    assert 'backlot_jobs_ended_total{outcome="success"}' in metrics
    schema = tiny_server.client.get("/schema").json()
    assert schema["openapi"].startswith("3.1")
    assert set(schema["paths"]["/v1/background-generator"]["post"]["responses"]) == {
        "200", "202", "401", "402", "403", "409", "413", "422", "429", "503"
    }  # fmt: skip
    assert tiny_server.client.get("/schema/openapi.json", headers={"Accept": "text/html"}).json() == schema
    page = tiny_server.client.get("/schema", headers={"Accept": "text/html"}).text
    for asset in re.findall(r'(?:src|href)=["\'](?!data:)([^"\']+)', page):
        assert "//" not in asset, f"{asset} is not on this server"
        assert tiny_server.client.get(f"/{asset}").status_code == 200


def test_a_full_queue_charges_nothing(start_server: StartServer, tiny_server: Server) -> None:
    from pathlib import Path

    server = start_server(Path(tiny_server.environment["BACKLOT_MODELS"]), BACKLOT_QUEUE_LIMIT="2")
    answers = [post(server, SPEC) for _ in range(12)]
    accepted = [answer.json()["job_id"] for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(accepted) + len(refused) == 12
    assert refused
    assert refused[0].json()["error"]["code"] == "QUEUE_FULL"
    assert int(refused[0].headers["Retry-After"]) >= 1
    assert server.credits()["spent"] == 5 * len(accepted)
    for job_id in accepted:
        assert server.finished(job_id)["status"] == "SUCCESS"
    server.stop()


def test_durable_before_202(tiny_server: Server) -> None:
    """Check that what a 202 says is in the file at once, for any reader."""
    job_id = tiny_server.submit()
    connection = sqlite3.connect(f"file:{tiny_server.data}/backlot.db?mode=ro", uri=True)
    kinds = connection.execute(
        "SELECT entries.kind FROM entries JOIN jobs ON jobs.id = job_id WHERE jobs.public_id = ?", (job_id,)
    ).fetchall()
    connection.close()
    assert kinds[0] == ("charge",)


def test_a_waiting_job_tells_its_place(tiny_server: Server) -> None:
    ids = [tiny_server.submit(seed=seed) for seed in range(12)]
    jobs = [tiny_server.job(job_id) for job_id in ids]
    assert all((job["queue_position"] is None) == (job["estimated_seconds"] is None) for job in jobs)
    places = [job["queue_position"] for job in jobs]
    told = [place for place in places if place is not None]
    assert told == sorted(told)
    wait_for(lambda: all(tiny_server.job(job_id)["status"] == "SUCCESS" for job_id in ids))
    assert tiny_server.job(ids[-1])["queue_position"] is None
    assert tiny_server.job(ids[-1])["progress"] == 1.0
