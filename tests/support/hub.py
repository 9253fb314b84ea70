"""A hub on loopback, as huggingface_hub knows one: it serves folders as slowly and as badly as a test says, or refuses."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

#: The status and the error code with which the hub answers for an owner's models.
REFUSALS = {
    "gated": (403, "GatedRepo"),
    "absent": (404, "RepoNotFound"),
    "moved": (404, "RevisionNotFound"),
    "limited": (429, ""),
    "broken": (502, ""),
    "closed": (403, ""),
}
COMMIT = "c" * 40
LICENCE = "openrail++"
#: Files from this size on are "large": the cache names them by their SHA-256.
LARGE = 10_000
_BLOCK = 4096


class Hub:
    """The models that a hub serves, how well, and what it was asked for."""

    def __init__(self, models: Mapping[str, Path]) -> None:
        """Take the folder of each model by its id."""
        self.models = models
        self.address = ""
        #: The rate at which large files are sent; 0 is no limit.
        self.bytes_per_s = 0.0
        #: Close the connection after this many bytes of a large file's answer, for this many answers.
        self.cut_after, self.cuts = 0, 0
        #: While this is set, the hub accepts requests for large files and never answers them.
        self.is_silent = False
        #: The status with which the hub answers everything, unless it is 0.
        self.out_of_order = 0
        #: The file and the first byte of each answer with a large file's contents, oldest first.
        self.sent: list[tuple[str, int]] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        refusal = next((answer for owner, answer in REFUSALS.items() if f"/{owner}/" in self.path), None)
        if self.hub.out_of_order or refusal is not None:
            self._refuse(*((self.hub.out_of_order, "") if refusal is None else refusal))
            return
        path = self.path.partition("?")[0]
        model = next((name for name in self.hub.models if f"/{name}" in path), None)
        if model is None:
            self._refuse(404, "RepoNotFound")
        elif path.startswith("/api/models/"):
            self._list(model, is_tree="/tree/" in path)
        elif (found := re.fullmatch(rf"/{model}/resolve/\w+/(.+)", path)) is not None:
            self._send(model, found[1])
        else:
            self._refuse(404, "EntryNotFound")

    do_HEAD = do_GET  # noqa: N815  http.server asks for this name

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _list(self, model: str, is_tree: bool) -> None:
        folder = self.hub.models[model]
        files = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name, size, digest = path.relative_to(folder).as_posix(), path.stat().st_size, _digest(path)
            large = {"size": size, "sha256": digest, "oid": digest, "pointerSize": 134} if size >= LARGE else None
            kept = {"type": "file", "path": name, "rfilename": name, "size": size, "oid": digest, "blobId": digest}
            files.append({**kept, **({"lfs": large} if large else {})})
        told = {"id": model, "sha": COMMIT, "siblings": files, "cardData": {"license": LICENCE}}
        self._answer(json.dumps(files if is_tree else told).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, model: str, name: str) -> None:
        path = self.hub.models[model] / name
        if not path.is_file():
            self._refuse(404, "EntryNotFound")
            return
        data = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        is_large = len(data) >= LARGE and self.command == "GET"
        while is_large and self.hub.is_silent:
            time.sleep(0.05)
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{_digest(path)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if is_large:
            self.hub.sent.append((name, start))
        self._write(data[start:], is_large)

    def _write(self, data: bytes, is_large: bool) -> None:
        if is_large and self.hub.cuts > 0:
            self.hub.cuts -= 1
            self.wfile.write(data[: self.hub.cut_after])
            self.close_connection = True
            return
        for begin in range(0, len(data), _BLOCK):
            try:
                self.wfile.write(data[begin : begin + _BLOCK])
            except OSError:
                # The client is gone.
                self.close_connection = True
                return
            if is_large and self.hub.bytes_per_s:
                time.sleep(_BLOCK / self.hub.bytes_per_s)

    def log_message(self, *_: object) -> None:
        """Write nothing to the terminal."""


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def serving(models: Mapping[str, Path] | None = None) -> Iterator[Hub]:
    """Yield a hub that serves these folders by their ids; its address is for HF_ENDPOINT."""
    hub = Hub(models or {})
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub})) as server:
        # Answers that are still under way must end with the test's process.
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield hub
        finally:
            hub.is_silent = False
            server.shutdown()
