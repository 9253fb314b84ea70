"""A real receiver of webhooks, which answers as it is told."""

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from standardwebhooks import Webhook

#: A status; or `hang` for no answer, `close` to close the connection, `drip` for one that comes byte by byte and never ends.
Answer = int | str


class Received(msgspec.Struct, frozen=True):
    headers: dict[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def job_id(self) -> str:
        return str(msgspec.json.decode(self.body)["data"]["public_id"])

    def verified(self, secret: str) -> dict[str, Any]:
        """Return the message, verified by the specification's own library."""
        message: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return message


class Receiver:
    """A server on a free port. Each request gets the next of `answers`; the last one is repeated."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers or (200,))
        self.received: list[Received] = []
        #: Requests for another path, such as the target of a redirect.
        self.strayed = 0
        self._stopped = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path != "/hook":
                    receiver.strayed += 1
                receiver.received.append(Received({name.lower(): text for name, text in self.headers.items()}, body))
                receiver.answer(self)

            def do_GET(self) -> None:
                receiver.strayed += 1
                self.send_error(405)

            def log_message(self, *_: Any, **__: Any) -> None:
                """Write nothing to the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "hang":
            self._stopped.wait()
            request.close_connection = True
        elif answer == "close":
            request.close_connection = True
        elif answer == "drip":
            with suppress(OSError):
                request.wfile.write(b"HTTP/1.1 200 OK\r\nslow: ")
                while not self._stopped.wait(0.5):
                    request.wfile.write(b"a")
            request.close_connection = True
        else:
            request.send_response(int(answer))
            if 300 <= int(answer) < 400:
                request.send_header("location", self.url.replace("/hook", "/elsewhere"))
            request.send_header("content-length", "2")
            request.end_headers()
            request.wfile.write(b"ok")

    def stop(self) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
