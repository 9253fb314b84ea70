"""A hub on loopback that refuses in the ways in which real ones do, by the owner's name in the id."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Owner → the status and the error code that its models are answered with.
REFUSALS = {
    "gated": (403, "GatedRepo"),
    "absent": (404, "RepoNotFound"),
    "moved": (404, "RevisionNotFound"),
    "limited": (429, ""),
    "broken": (502, ""),
    "closed": (403, ""),
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, code = next((answer for owner, answer in REFUSALS.items() if f"/{owner}/" in self.path), (404, ""))
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815  http.server asks for this name

    def log_message(self, *_: object) -> None:
        """Write nothing to the terminal."""


@contextmanager
def refusing_hub() -> Iterator[str]:
    """Yield the hub's address, for HF_ENDPOINT."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
