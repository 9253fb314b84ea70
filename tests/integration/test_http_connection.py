"""Connections of clients that send or take in odd ways, with limits of a second: each ends, and no good request is lost."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from server.http_connection import Connection
from tests.support.server import wait_for

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
#: The app answers this request before its body is there, as a request without a key is answered.
EARLY = b"POST /early HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
#: Bytes of an answer that no buffer holds.
LARGE = 16 << 20


class Quick(Connection):
    head_s = body_s = take_s = 1.0
    most_connections = 4


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for _ in range(2):
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
        return
    answer = b"x" * LARGE if scope["path"] == "/large" else b"ok"
    if scope["path"] == "/slow":
        await asyncio.sleep(2.5)
    elif scope["path"] != "/early":
        while (await receive()).get("more_body"):
            pass
    length = str(len(answer)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": answer})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=Quick, ws="none", timeout_keep_alive=1, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(10)


@contextmanager
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(20)
        yield client


def taken(client: socket.socket) -> bytes:
    """Return what comes until the server closes the connection. Raises TimeoutError if it does not."""
    got = b""
    try:
        while piece := client.recv(1 << 20):
            got += piece
    except ConnectionResetError:
        pass
    return got


def talk(port: int, first: bytes, *others: bytes) -> bytes:
    """Send the parts, each once the server has had time to read the last; return all that it says until it closes."""
    with connection(port) as client:
        client.sendall(first)
        for part in others:
            threading.Event().wait(0.1)
            client.sendall(part)
        return taken(client)


@pytest.mark.parametrize(
    ("parts", "answers"),
    [
        ([b"\r\n"], 0),
        ([REQUEST, b"\r\n"], 1),
        ([REQUEST + b"\r\n"], 1),
        ([EARLY + b"Content-Length: 4\r\n\r\n", b"abcd"], 1),
        ([EARLY + b"Content-Length: 4\r\n\r\n", b"ab", b"cd"], 1),
        ([EARLY + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n", b"0\r\nX: y\r\n", b"\r\n"], 1),
    ],
)
def test_what_is_no_request_keeps_no_connection(port: int, parts: list[bytes], answers: int) -> None:
    assert talk(port, *parts).count(b"200 OK") == answers


def test_a_body_behind_a_request_that_is_answered_has_its_time_after_that(port: int) -> None:
    whole = talk(port, SLOW + POST + b"Content-Length: 4\r\n\r\nab", b"cd")
    assert whole.count(b"200 OK") == 2


@pytest.mark.parametrize("broken", [b"Content-Length: 4\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"])
def test_a_broken_request_takes_no_answer_from_the_one_before_it(port: int, broken: bytes) -> None:
    assert talk(port, SLOW + POST + broken).count(b"200 OK") == 1


def test_a_head_behind_a_large_body_is_not_too_large(port: int) -> None:
    body = b"x" * 100_000
    answer = talk(port, POST + b"Content-Length: 100000\r\n\r\n" + body + REQUEST[:10], REQUEST[10:])
    assert answer.count(b"200 OK") == 2


def test_clients_that_take_nothing_lock_nobody_out(port: int) -> None:
    clients = []
    for _ in range(Quick.most_connections):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        clients.append(client)
    try:
        wait_for(lambda: b"200 OK" in talk(port, REQUEST))
        for client in clients:
            client.settimeout(20)
            assert len(taken(client)) < LARGE
    finally:
        for client in clients:
            client.close()
