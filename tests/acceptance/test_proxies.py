"""The server behind a proxy, under a path, and asked by clients that only claim to be a proxy."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.support.raw import Answer, read_answers
from tests.support.server import ROOT, ServerWithoutGpu

FORGED = {
    "X-Forwarded-For": "198.51.100.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "Forwarded": "for=198.51.100.7;host=evil.example",
}


@contextmanager
def proxy(url: str, prefix: str, keep: bool) -> Iterator[str]:
    """Run a reverse proxy and give its address, prefix included."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.reverse_proxy", url, prefix, "keep" if keep else "remove"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def get(server: ServerWithoutGpu, path: str, source: str, **headers: str) -> Answer:
    """Ask from the given loopback address."""
    address = urlsplit(server.url)
    asked = {"Host": "here.example", "Authorization": f"Bearer {server.key}", "Connection": "close", **headers}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in asked.items()), "", ""]
    with socket.create_connection((address.hostname, address.port), 10, (source, 0)) as connection:
        connection.sendall("\r\n".join(lines).encode())
        (answer,) = read_answers(connection)
    return answer


def link(server: ServerWithoutGpu, job_id: str, source: str, **headers: str) -> str:
    answer = get(server, f"/v1/jobs/{job_id}", source, **headers)
    return str(json.loads(answer.body)["result"][0]["image_url"])


def peer(server: ServerWithoutGpu, answer: Answer) -> str:
    rows = json.loads(server.backlot("requests", "--limit", "50", "--json").stdout)
    found: str = next(row["remote"] for row in rows if row["id"] == answer.headers["x-request-id"])
    return found


def test_only_a_trusted_proxy_says_who_asked(light_server: ServerWithoutGpu) -> None:
    job_id = light_server.submit()
    light_server.finished(job_id)
    assert link(light_server, job_id, "127.0.0.2", **FORGED).startswith("http://here.example/images/")
    assert link(light_server, job_id, "127.0.0.1", **FORGED).startswith("https://evil.example/images/")
    assert peer(light_server, get(light_server, "/v1/jobs", "127.0.0.2", **FORGED)) == "127.0.0.2"
    assert peer(light_server, get(light_server, "/v1/jobs", "127.0.0.1", **FORGED)) == "198.51.100.7"
    # The server does not believe the addresses that a client sends before the proxy adds its own.
    chain = {"X-Forwarded-For": "1.1.1.1, 198.51.100.7, 127.0.0.1"}
    assert peer(light_server, get(light_server, "/v1/jobs", "127.0.0.1", **chain)) == "198.51.100.7"
    for odd in ("unknown", "1.2.3", ",,", "198.51.100.7 evil", "\xe4"):
        answer = get(light_server, "/v1/jobs", "127.0.0.1", **{"X-Forwarded-For": odd})
        assert peer(light_server, answer) == "127.0.0.1"
    for odd in ("evil.example/path", "a b", "user@evil.example", "evil.example:x"):
        assert link(light_server, job_id, "127.0.0.1", **{"X-Forwarded-Host": odd}).startswith("http://here.example/")


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerWithoutGpu]:
    server = ServerWithoutGpu(
        tmp_path_factory.mktemp("prefixed"),
        BACKLOT_PUBLIC_URL="https://studio.example/backlot",
        BACKLOT_TRUSTED_PROXIES="127.0.0.0/30",
    )
    server.start(wait_ready=False)
    yield server
    server.stop()


def test_with_a_public_url_nobody_steers_links(prefixed: ServerWithoutGpu) -> None:
    job_id = prefixed.submit()
    prefixed.finished(job_id)
    for source in ("127.0.0.1", "127.0.0.9"):
        assert link(prefixed, job_id, source, **FORGED).startswith("https://studio.example/backlot/images/")


@pytest.mark.parametrize("keep", [True, False], ids=["the proxy keeps the prefix", "the proxy removes the prefix"])
def test_under_a_path(prefixed: ServerWithoutGpu, keep: bool) -> None:
    with proxy(prefixed.url, "/backlot", keep) as base, httpx.Client(timeout=20) as browser:
        page = browser.get(f"{base}/")
        assert page.status_code == 200
        assets = re.findall(r'(?:href|src)="([^"#]+)"', page.text)
        assert len(assets) > 5
        script = browser.get(urljoin(f"{base}/", "static/studio.js"))
        assets += [f"static/{name.removeprefix('./')}" for name in re.findall(r'from "([^"]+)"', script.text)]
        shown = browser.get(f"{base}/schema", headers={"Accept": "text/html"})
        assets += re.findall(r"""(?:href|src)=['"]([^'"]+)""", shown.text)
        for asset in assets:
            assert browser.get(urljoin(f"{base}/", asset)).status_code in (200, 503), asset
        document = browser.get(f"{base}/schema/openapi.json").json()
        assert document["servers"] == [{"url": "https://studio.example/backlot"}]
        headers = {"Authorization": f"Bearer {prefixed.key}"}
        job_id = prefixed.submit()
        prefixed.finished(job_id)
        url = browser.get(f"{base}/v1/jobs/{job_id}", headers=headers).json()["result"][0]["image_url"]
        assert url.startswith("https://studio.example/backlot/images/")
        assert browser.get(url.replace("https://studio.example/backlot", base)).content.startswith(b"\x89PNG")


def test_a_page_whose_slash_is_wrong_leads_to_the_right_one(prefixed: ServerWithoutGpu) -> None:
    with proxy(prefixed.url, "/backlot", keep=True) as base:
        answer = httpx.get(base)
        assert (answer.status_code, answer.headers["location"]) == (308, "/backlot/")
        assert answer.headers["x-request-id"]
        browser = httpx.Client(follow_redirects=True, headers={"Accept": "text/html"})
        for page in ("desk", "schema"):
            shown = browser.get(f"{base}/{page}/")
            assert (shown.status_code, str(shown.url)) == (200, f"{base}/{page}")
    # Without the proxy the server is at its usual paths.
    assert prefixed.client.get("/v1/credits").status_code == 200


def test_a_prefix_may_have_a_space(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = ServerWithoutGpu(
        tmp_path_factory.mktemp("spaced"), BACKLOT_PUBLIC_URL="https://studio.example/our%20backlot"
    )
    server.start(wait_ready=False)
    try:
        assert httpx.get(f"{server.url}/our%20backlot/healthz").status_code == 200
        assert httpx.get(f"{server.url}/our%20backlot").headers["location"] == "/our%20backlot/"
    finally:
        server.stop()
