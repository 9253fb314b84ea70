"""Bytes on a socket, for requests that no HTTP library would send."""

import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The stable code of an error in the envelope."""
        found: dict[str, Any] = json.loads(self.body)
        return str(found["error"]["code"])


def connect(url: str, timeout_s: float = 20) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout_s)


def send(url: str, *parts: bytes, then_close: bool = False) -> list[Answer]:
    """Send bytes and return every answer up to the end of the connection. With `then_close`, close the sending half."""
    with connect(url) as connection:
        for part in parts:
            connection.sendall(part)
        if then_close:
            connection.shutdown(socket.SHUT_WR)
        return read_answers(connection)


def read_answers(connection: socket.socket) -> list[Answer]:
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    answers = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(status_line.split(" ")[1])
        length = int(headers.get("content-length", 0))
        if status != 100:
            answers.append(Answer(status, headers, received[:length]))
        received = received[length:]
    return answers
