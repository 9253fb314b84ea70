"""Requests that no client should send: each has an answer in the envelope or a quiet close."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.raw import connect, read_answers, send
from tests.support.server import SPEC, Server, ServerWithoutGpu, wait_for

BODY = json.dumps(SPEC).encode()
#: The socket module does not name this option of Linux.
TCP_REPAIR = 19


def head(server: Server, request_line: str, *headers: str) -> bytes:
    lines = [request_line, "Host: here", f"Authorization: Bearer {server.key}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def log_of(server: Server) -> str:
    return (server.data / "logs" / "server.log").read_text()


@pytest.fixture(autouse=True)
def no_traceback(light_server: Server) -> Iterator[None]:
    """Fail a test of this file that leaves a traceback in the log."""
    before = len(log_of(light_server))
    yield
    assert "Traceback" not in log_of(light_server)[before:]
    assert light_server.client.get("/healthz").status_code == 200


NOT_HTTP = {
    "words": b"hello there\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "nul": b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes above ascii": "GET /v1/jobs/ü HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "a space in a header's name": b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    "nul in a header": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    "two lengths": b"POST /v1/background-generator HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "a negative length": b"POST /v1/background-generator HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a length that is none": b"POST /v1/background-generator HTTP/1.1\r\nHost: x\r\nContent-Length: two\r\n\r\n",
    "length and chunks": (
        b"POST /v1/background-generator HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "no method": b" / HTTP/1.1\r\n\r\n",
    "an unknown method": b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown version": b"GET / HTTP/7.3\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a bare line feed": b"GET / HTTP/1.1\nHost: x\n\n",
}


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP.keys())
def test_what_is_not_http_is_a_400_in_the_envelope(light_server: Server, sent: bytes) -> None:
    (answer,) = send(light_server.url, sent)
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert answer.headers["x-request-id"] == json.loads(answer.body)["error"]["request_id"]
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /%00 HTTP/1.1",
        "GET /static/%00 HTTP/1.1",
        f"GET /static/{'x' * 5000} HTTP/1.1",
        "GET /static/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1",
        "GET /static/ HTTP/1.1",
        "GET /docs-assets/%ff%fe HTTP/1.1",
        "GET /images/%00.png?expires=1&signature=%00 HTTP/1.1",
        "GET /images/%ff.png?expires=99999999999999999999&signature=%ff HTTP/1.1",
        "GET /v1/jobs/%00 HTTP/1.1",
        "GET /v1/jobs/%e0%80%80 HTTP/1.1",
        "GET /v1/jobs/%ed%a0%80/events HTTP/1.1",
        "GET /v1/jobs/%zz HTTP/1.1",
        "GET /v1/jobs?created_after=%00 HTTP/1.1",
        "GET /v1/jobs?%ff=%fe HTTP/1.1",
        "GET /v1/jobs?limit=%ff HTTP/1.1",
        "GET /v1/jobs?limit HTTP/1.1",
        "GET /v1/jobs?offset=99999999999999999999999 HTTP/1.1",
        "GET /v1/usage?since=99999-01-01T00:00:00Z HTTP/1.1",
        f"GET /v1/jobs?{'&'.join(f'x{i}=1' for i in range(3000))} HTTP/1.1",
        "GET //// HTTP/1.1",
        "GET http://elsewhere.example/v1/nowhere HTTP/1.1",
        "DELETE /v1/jobs HTTP/1.1",
        "TRACE /v1/jobs HTTP/1.1",
        "PROPFIND /v1/jobs HTTP/1.1",
    ],
    ids=lambda line: line[:60],
)
def test_odd_paths_and_queries_have_the_envelope(light_server: Server, request_line: str) -> None:
    (answer,) = send(light_server.url, head(light_server, request_line))
    assert 200 <= answer.status < 500
    if answer.status >= 400:
        assert answer.code


@pytest.mark.parametrize(
    "header",
    [
        "Accept: ;q=x, */*;q=nonsense, \xff",
        "Content-Type: multipart/form-data",
        "Content-Type: ;;;=\xff",
        "Cookie: a=b; =; \xff; \x80=%ff",
        "Last-Event-ID: later",
        "Range: bytes=9-1",
        "If-Modified-Since: yesterday",
        "If-None-Match: \xff",
        "X-Forwarded-For: \xff, [::1, 1.2.3.4.5",
        "X-Forwarded-Proto: gopher",
        "X-Forwarded-Host: \xff/../@x",
        "Forwarded: for=\xff",
        "Idempotency-Key: \xff",
        "X-Shopify-Hmac-Sha256: \xff",
        "User-Agent: \x1b[31mred\x7f".replace("\x1b", "\x9b").replace("\x7f", "\xad"),
        "Upgrade: websocket",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "Expect: the-unexpected",
        "Connection: upgrade, \xff",
        "Transfer-Encoding: chunked",
        "Host: a b c",
        "Host: evil.example",
        "Accept-Encoding: \xff",
        "Origin: null",
        "X-Many: " + "y" * 30_000,
    ],
    ids=lambda line: line[:40],
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/", "/static/icon.svg", "/schema", "/readyz"])
def test_odd_headers_have_an_answer(light_server: Server, path: str, header: str) -> None:
    content = b"0\r\n\r\n" if header.startswith("Transfer") else b""
    (answer,) = send(light_server.url, head(light_server, f"GET {path} HTTP/1.1", header) + content)
    assert 200 <= answer.status < 500
    if answer.status >= 400:
        assert answer.code


def test_headers_without_end_are_a_431(light_server: Server) -> None:
    line = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: "
    for sent in (line + b"y" * 100_000, line + b"y" * 70_000 + b"\r\n\r\n", b"GET /" + b"y" * 100_000):
        (answer,) = send(light_server.url, sent)
        assert (answer.status, answer.code) == (431, "HEADERS_TOO_LARGE")
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(9000))
    (answer,) = send(light_server.url, b"GET / HTTP/1.1\r\n" + many + b"\r\n")
    assert answer.code == "HEADERS_TOO_LARGE"


def test_chunks_that_are_none_are_a_400_and_cost_nothing(light_server: Server) -> None:
    before = light_server.credits()
    start = head(light_server, "POST /v1/background-generator HTTP/1.1", "Transfer-Encoding: chunked")
    for chunks in (b"zz\r\n", b"5\r\nabcdefgh\r\n", b"ffffffffffffffffff\r\n", b"-1\r\n"):
        (answer,) = send(light_server.url, start, chunks)
        assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    assert light_server.credits() == before


def test_a_trailer_is_no_header(light_server: Server) -> None:
    lines = [
        "POST /v1/background-generator HTTP/1.1",
        "Host: x",
        "Transfer-Encoding: chunked",
        "Connection: close",
        "",
        "",
    ]
    body = f"{len(BODY):x}\r\n{BODY.decode()}\r\n0\r\nAuthorization: Bearer {light_server.key}\r\n\r\n"
    (answer,) = send(light_server.url, ("\r\n".join(lines) + body).encode())
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("path", ["/v1/background-generator", "/v1/image-generation", "/v1/images/generations"])
def test_half_a_body_costs_nothing(light_server: Server, path: str) -> None:
    before = light_server.credits()
    start = head(light_server, f"POST {path} HTTP/1.1", f"Content-Length: {len(BODY)}")
    assert send(light_server.url, start, BODY[:10], then_close=True) == []
    with connect(light_server.url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(start + BODY[:10])
    assert light_server.credits() == before
    rows = json.loads(light_server.backlot("requests", "--limit", "5", "--json").stdout)
    ends = [(row["status"], row["error_code"]) for row in rows if row["route"] == path]
    assert ends[:2] == [(499, "CLIENT_GONE")] * 2


def test_half_a_head_is_closed_quietly(light_server: Server) -> None:
    assert send(light_server.url, b"GET /v1/jo", then_close=True) == []
    assert send(light_server.url, b"", then_close=True) == []


def test_a_body_of_another_length_than_it_says(light_server: Server) -> None:
    start = head(light_server, "POST /v1/background-generator HTTP/1.1", "Content-Length: 4")
    (answer,) = send(light_server.url, start + BODY)
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")
    start = head(light_server, "POST /v1/background-generator HTTP/1.1", "Content-Length: 99999999999")
    (answer,) = send(light_server.url, start)
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")


def test_expect_is_answered_before_the_body(light_server: Server) -> None:
    start = head(
        light_server, "POST /v1/background-generator HTTP/1.1", f"Content-Length: {len(BODY)}", "Expect: 100-continue"
    )
    with connect(light_server.url) as connection:
        connection.sendall(start)
        assert connection.recv(1024).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(BODY)
        (answer,) = read_answers(connection)
    assert answer.status == 202


def test_an_upgrade_is_answered_as_if_it_had_not_been_asked_and_refused_with_a_body(light_server: Server) -> None:
    lines = ["GET /healthz HTTP/1.1", "Host: x", "Connection: upgrade", "Upgrade: h2c", "", ""]
    (answer,) = send(light_server.url, "\r\n".join(lines).encode())
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    lines = ["POST /v1/background-generator HTTP/1.1", *lines[1:4], f"Content-Length: {len(BODY)}", "", ""]
    (answer,) = send(light_server.url, "\r\n".join(lines).encode() + BODY)
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


def test_requests_on_one_connection_are_answered_in_order(light_server: Server) -> None:
    ask = f"GET /v1/credits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {light_server.key}\r\n\r\n".encode()
    first, second = send(light_server.url, ask + head(light_server, "GET /v1/operations HTTP/1.1"))
    assert "balance" in json.loads(first.body)
    assert "operations" in json.loads(second.body)


def test_an_answer_under_way_goes_before_the_refusal_of_what_follows(light_server: Server) -> None:
    job_id = light_server.submit()
    light_server.finished(job_id)
    last = light_server.client.get(f"/v1/jobs/{job_id}/events").json()["latest_seq"]
    ask = f"GET /v1/jobs/{job_id}/events?since={last} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {light_server.key}\r\n\r\n"
    answers = send(light_server.url, ask.encode() + b"rubbish\r\n\r\n")
    assert answers[0].status == 200
    assert json.loads(answers[0].body)["events"] == []
    assert len(answers) == 1


@pytest.mark.slow
def test_a_request_that_arrives_too_slowly_is_a_408(light_server: Server) -> None:
    start = head(light_server, "POST /v1/background-generator HTTP/1.1", f"Content-Length: {len(BODY)}")
    with connect(light_server.url, 90) as headers, connect(light_server.url, 90) as body:
        headers.sendall(start[:30])
        body.sendall(start + BODY[:10])
        began = time.monotonic()
        (answer,) = read_answers(headers)
        assert (answer.status, answer.code) == (408, "REQUEST_TIMEOUT")
        assert time.monotonic() - began < 30
        (answer,) = read_answers(body)
        assert (answer.status, answer.code) == (408, "REQUEST_TIMEOUT")


GETS = ["/", "/static/icon.svg", "/schema", "/schema/openapi.json", "/healthz", "/readyz", "/metrics", "/v1/jobs"]


@pytest.mark.parametrize("path", [*GETS, "/v1/models", "/v1/catalog/backgrounds", "/v1/nowhere"])
def test_head_answers_wherever_get_does(light_server: Server, path: str) -> None:
    get, without_body = light_server.client.get(path), light_server.client.head(path)
    assert without_body.status_code == get.status_code
    assert without_body.content == b""
    assert without_body.headers["content-type"] == get.headers["content-type"]
    if path != "/metrics":
        assert without_body.headers["content-length"] == get.headers["content-length"]


def test_head_of_an_image_and_of_a_stream(light_server: Server) -> None:
    job_id = light_server.submit()
    streaming = {"Accept": "text/event-stream"}
    # The stream goes on until the job's end; the answer to HEAD does not.
    assert light_server.client.head(f"/v1/jobs/{job_id}/events", headers=streaming).status_code == 200
    url = light_server.finished(job_id)["result"][0]["image_url"]
    answer = httpx.head(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert int(answer.headers["content-length"]) == len(httpx.get(url).content)
    allowed = light_server.client.delete("/v1/jobs").headers["allow"]
    assert {"GET", "HEAD"} <= set(allowed.split(", "))


@pytest.mark.parametrize("path", [*GETS, "/v1/credits", "/v1/jobs/01J00000000000000000000000/events"])
def test_unknown_query_parameters_are_a_422(light_server: Server, path: str) -> None:
    response = light_server.client.get(path, params={"bogus": "1", "limits": "2"})
    assert response.status_code == 422
    details = response.json()["detail"]
    assert [(detail["loc"], detail["type"]) for detail in details] == [
        (["query", "bogus"], "extra_forbidden"),
        (["query", "limits"], "extra_forbidden"),
    ]


@pytest.mark.parametrize(
    ("path", "name", "value", "kind", "told"),
    [
        ("/v1/jobs", "limit", "0", "greater_than_equal", "Expected `int` >= 1, not 0"),
        ("/v1/jobs", "limit", "many", "int_type", "Expected `int`, got `str`"),
        ("/v1/jobs", "status", "DONE", "enum", "'DONE' is not one of NOT_STARTED, IN_PROGRESS, SUCCESS, FAILURE"),
        (
            "/v1/jobs",
            "created_after",
            "2026",
            "value_error",
            "'2026' is not a time; write it like 2026-11-25T09:00:00Z",
        ),
        (
            "/v1/usage",
            "since",
            "20260101",
            "value_error",
            "'20260101' is not a time; write it like 2026-11-25T09:00:00Z",
        ),
        ("/v1/usage", "until", "soon", "value_error", "'soon' is not a time; write it like 2026-11-25T09:00:00Z"),
        ("/v1/events", "since", "now", "enum", "'now' is not one of a whole number, latest"),
    ],
)
def test_what_is_wrong_with_a_query_parameter_is_told_as_of_a_body(
    light_server: Server, path: str, name: str, value: str, kind: str, told: str
) -> None:
    answer = light_server.client.get(path, params={name: value})
    assert answer.status_code == 422
    assert answer.json()["detail"] == [{"loc": ["query", name], "msg": told, "type": kind}]


@pytest.mark.parametrize("sent", ["later", "-1", "", "1" * 16])
def test_a_header_that_is_no_whole_number_is_told_so(light_server: Server, sent: str) -> None:
    answer = light_server.client.get("/v1/events", headers={"Last-Event-ID": sent})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["msg"] == f"{sent!r} is not a whole number of at most 15 digits"


def test_an_unknown_query_parameter_names_the_nearest_and_charges_nothing(light_server: Server) -> None:
    before = light_server.credits()
    response = light_server.client.post("/v1/background-generator", params={"dryrun": "true"}, json=SPEC)
    assert response.status_code == 422
    assert response.json()["detail"][0]["msg"] == "Unknown query parameter 'dryrun'; did you mean 'dry_run'?"
    assert light_server.credits() == before
    wrong = light_server.client.get("/v1/jobs", params={"status": "DONE"}).json()["detail"][0]
    assert wrong["msg"] == "'DONE' is not one of NOT_STARTED, IN_PROGRESS, SUCCESS, FAILURE"


@pytest.mark.slow
def test_a_connection_is_kept_longer_than_a_minute(light_server: Server) -> None:
    connection = http.client.HTTPConnection(urlsplit(light_server.url).netloc, timeout=10)
    connection.request("GET", "/healthz")
    connection.getresponse().read()
    same = connection.sock
    time.sleep(65)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    assert connection.sock is same
    connection.close()


def test_a_path_with_slashes_too_many_has_its_row(light_server: Server) -> None:
    response = httpx.get(f"{light_server.url}//v1/credits", headers={"Authorization": "Bearer sk_live_guess"})
    assert response.status_code == 401
    request_id = response.headers["X-Request-Id"]
    wait_for(lambda: request_id in light_server.backlot("requests", "--json").stdout)


def test_a_flood_without_a_key_leaves_few_rows_and_is_counted(light_server: Server) -> None:
    with httpx.Client(base_url=light_server.url) as stranger:
        for number in range(300):
            assert stranger.get("/v1/jobs", headers={"Authorization": f"Bearer sk_live_{number}"}).status_code == 401
    rows = json.loads(light_server.backlot("requests", "--limit", "1000", "--json").stdout)
    # The flood may have begun in one minute and ended in the next.
    assert 60 <= sum(row["status"] == 401 for row in rows) <= 180
    lines = light_server.client.get("/metrics").text.splitlines()
    counted = next(line for line in lines if line.startswith('backlot_requests_without_row_total{why="flood"}'))
    assert float(counted.split()[-1]) >= 100


def test_reads_and_submissions_are_limited_apart(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path, BACKLOT_RATE_LIMIT="3", BACKLOT_READ_LIMIT="5")
    server.start(wait_ready=False)
    try:
        spec = {"scene_type": "endless", "mood": "dark"}
        posts = [server.client.post("/v1/background-generator", json=spec) for _ in range(5)]
        assert [post.status_code for post in posts] == [202, 202, 202, 429, 429]
        assert posts[-1].json()["error"]["code"] == "RATE_LIMITED"
        assert 1 <= int(posts[-1].headers["Retry-After"]) <= 60
        assert posts[0].headers["RateLimit-Policy"] == "3; w=60"
        assert [post.headers["RateLimit-Remaining"] for post in posts] == ["2", "1", "0", "0", "0"]
        reads = [server.client.get("/v1/credits") for _ in range(6)]
        assert [read.status_code for read in reads] == [200] * 5 + [429]
        assert reads[0].json()["spent"] == 15
        # Another key has its own count, and an open route has no limit.
        assert server.new_client("other").get("/v1/credits").status_code == 200
        assert server.client.get("/healthz").status_code == 200
    finally:
        server.stop()


def test_idle_connections_make_room_and_busy_ones_do_not(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    # This leaves room for 64 connections.
    server.under = ("prlimit", "--nofile=320:320")
    server.start(wait_ready=False)
    connections = []
    try:
        job_id = server.submit(scene_type="endless")
        for _ in range(200):
            connections.append(connect(server.url))
        # The oldest connections are closed, and everybody is answered.
        assert connections[0].recv(10) == b""
        assert server.client.get("/healthz").status_code == 200
        assert httpx.get(f"{server.url}/readyz").status_code == 200

        wait = (
            f"GET /v1/jobs/{job_id}?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n\r\n".encode()
        )
        waiting = [connect(server.url) for _ in range(64)]
        connections += waiting
        for connection in waiting:
            connection.sendall(wait)
        (answer,) = read_answers(connect(server.url))
        assert (answer.status, answer.code) == (503, "TOO_MANY_CONNECTIONS")
        assert answer.headers["retry-after"] == "5"
        # Room comes back when a connection ends, and the log has no traceback.
        waiting[0].close()
        wait_for(lambda: httpx.get(f"{server.url}/healthz").status_code == 200)
        assert "Traceback" not in log_of(server)
    finally:
        for connection in connections:
            connection.close()
        server.stop()


def test_the_first_answer_to_a_key_holds_whatever_the_operator_changed(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path, BACKLOT_QUEUE_LIMIT="10")
    server.start(wait_ready=False)
    try:
        headers = {"Idempotency-Key": "first"}
        spec = {**SPEC, "image_model": "closed", "pilot_brand": "acme"}

        def post() -> httpx.Response:
            return server.client.post("/v1/background-generator", json=spec, headers=headers)

        first = post().json()
        models = Path(server.environment["BACKLOT_MODELS"])
        before, closed = models.read_text().split("[models.closed]")
        operation = "[operations.background-generator]\nenabled = false\ncredits_cost = 500\n[brands.other]\n"
        models.write_text(f"{before}\n[models.closed]\nenabled = false{closed}\n{operation}")
        dry_run = {"dry_run": "true"}
        wait_for(
            lambda: server.client.post("/v1/background-generator", params=dry_run, json=SPEC).status_code == 403, 10
        )
        while server.client.post("/v1/image-generation", json={"prompt": "endless"}).status_code == 202:
            pass
        answer = post()
        assert (answer.status_code, answer.json()) == (202, first)
        conflict = server.client.post("/v1/background-generator", json=SPEC, headers=headers)
        assert conflict.json()["error"]["code"] == "IDEMPOTENCY_CONFLICT"
    finally:
        server.stop()


@pytest.mark.slow
def test_a_client_that_vanishes_without_a_word_is_given_up(light_server: Server) -> None:
    """Close a connection without sending a word, as a machine that lost power: nobody waits for its job any more."""
    before = light_server.credits()["refunded"]
    body = json.dumps({"prompt": "endless"}).encode()
    start = head(light_server, "POST /v1/images/generations HTTP/1.1", f"Content-Length: {len(body)}")
    with connect(light_server.url) as connection:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 0)
        except PermissionError:
            pytest.skip("only root can make a connection vanish")
        connection.sendall(start + body)
        wait_for(lambda: light_server.client.get("/v1/jobs", params={"status": "IN_PROGRESS"}).json()["total"] == 1)
        # A connection that is closed in this state sends nothing.
        connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    assert light_server.credits()["refunded"] == before
    wait_for(lambda: light_server.credits()["refunded"] == before + 5)
