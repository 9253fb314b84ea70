"""The server is at the address that it names."""

import socket
from pathlib import Path

import httpx
import pytest

from tests.support.server import ServerWithoutGpu


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this box has no IPv6")
@pytest.mark.parametrize(
    ("host", "shown", "also"),
    [
        ("::1", "http://[::1]:", []),
        ("[::1]", "http://[::1]:", []),
        ("::", "http://[::1]:", ["127.0.0.1"]),
        ("0.0.0.0", "http://127.0.0.1:", []),
        ("localhost", "http://localhost:", ["127.0.0.1"]),
    ],
)
def test_the_printed_address_works(tmp_path: Path, host: str, shown: str, also: list[str]) -> None:
    server = ServerWithoutGpu(tmp_path, BACKLOT_HOST=host)
    server.start(wait_ready=False)
    try:
        assert server.url.startswith(shown)
        assert server.client.get("/healthz").status_code == 200
        for other in also:
            port = httpx.URL(server.url).port
            answer = httpx.get(f"http://{other}:{port}/v1/credits", headers={"Authorization": f"Bearer {server.key}"})
            assert answer.status_code == 200
            # An IPv4 client of an IPv6 socket is known by its IPv4 address.
            assert f'"{other}"' in server.backlot("requests", "--json").stdout
    finally:
        server.stop()
