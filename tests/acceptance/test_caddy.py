"""Behind Caddy with TLS, as docs/howto/tls.md sets it up: streams, large bodies, links, and a path of a shared site."""

import json
import os
import re
import time
from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import pytest

from tests.support.caddy import CADDY, caddy
from tests.support.server import ServerWithoutGpu

pytestmark = pytest.mark.skipif(
    CADDY is None and os.environ.get("REQUIRE_CADDY") != "1",
    reason="there is no caddy, a package of Debian; REQUIRE_CADDY=1 makes that a failure",
)


class Behind:
    """A server behind Caddy, and a client of it that trusts Caddy's own authority."""

    def __init__(self, server: ServerWithoutGpu, url: str, http: httpx.Client) -> None:
        self.server, self.url, self.http = server, url, http


@pytest.fixture(scope="module", params=["a site of its own", "a path of a site"])
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("caddy")
    server = ServerWithoutGpu(folder)
    server.start(wait_ready=False)
    # Its public URL has Caddy's port, which is known only once Caddy knows the server's.
    server.environment["BACKLOT_PORT"] = server.url.rsplit(":", 1)[1]
    with caddy(folder, server.url) as (whole, shared, trust):
        url = whole
        if request.param == "a path of a site":
            url = f"{shared}/backlot"
            server.stop()
            server.environment["BACKLOT_PUBLIC_URL"] = url
            server.start(wait_ready=False)
        headers = {"Authorization": f"Bearer {server.key}"}
        with httpx.Client(base_url=url, headers=headers, verify=trust, timeout=30) as http:
            yield Behind(server, url, http)
        server.stop()


def test_events_stream_while_the_job_runs(behind: Behind) -> None:
    job = behind.http.post("/v1/background-generator", json={"scene_type": "endless", "mood": "warm"}).json()["job_id"]
    began = time.monotonic()
    with behind.http.stream("GET", f"/v1/jobs/{job}/events", headers={"Accept": "text/event-stream"}) as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("data:"))
        assert time.monotonic() - began < 5, "the first event was held back until there were more"
        behind.http.post(f"/v1/jobs/{job}/cancel")
        last = [json.loads(line[5:]) for line in lines if line.startswith("data:")][-1]
    assert last["event_type"] == "failed"


def test_links_lead_through_the_proxy_and_a_large_picture_comes_whole(behind: Behind) -> None:
    job = behind.http.post("/v1/background-generator", json={"scene_type": "marble", "mood": "warm"}).json()["job_id"]
    found = behind.http.get(f"/v1/jobs/{job}", params={"wait": 30}).json()
    link = found["result"][0]["image_url"]
    assert link.startswith(f"{behind.url}/images/")
    large = os.urandom(30_000_000)
    (behind.server.data / "images" / job[-2:] / f"{job}.png").write_bytes(large)
    assert behind.http.get(link).content == large


def test_bodies_of_any_allowed_size_arrive_and_larger_ones_are_refused_in_the_envelope(behind: Behind) -> None:
    spec = {"scene_type": "marble", "mood": "warm", "metadata": {"note": "x" * 16_000}}
    assert behind.http.post("/v1/background-generator", json=spec).status_code == 202
    large = behind.http.post("/v1/background-generator", content=b"x" * 1_200_000)
    assert (large.status_code, large.json()["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_the_request_log_has_the_clients_address_and_nobody_can_forge_it(behind: Behind) -> None:
    answer = behind.http.get(
        "/v1/credits", headers={"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Host": "evil.example"}
    )
    rows = json.loads(behind.server.backlot("requests", "--limit", "20", "--json").stdout)
    (row,) = (row for row in rows if row["id"] == answer.headers["X-Request-Id"])
    assert row["remote"] in ("127.0.0.1", "::1")


def test_the_page_and_all_that_it_loads_work(behind: Behind) -> None:
    page = behind.http.get("/")
    assert page.status_code == 200
    assets = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert assets
    for asset in assets:
        assert behind.http.get(urljoin(f"{behind.url}/", asset)).status_code == 200, asset
    assert behind.http.get("/schema").status_code == 200
    assert behind.http.get("/schema/openapi.json").status_code == 200
