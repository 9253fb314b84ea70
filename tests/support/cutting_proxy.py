"""A network that breaks: a TCP proxy that cuts chosen connections after a number of bytes, or holds answers back."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class CuttingProxy:
    """A proxy that passes connections on to a server. It cuts the first ones as `cuts` says, and leaves the others alone.

    A number is how many bytes of answers come through before the cut: at 0 the server has done what was asked, and the
    client never hears of it. `rewrite` is a pair: the proxy puts the second in the place of the first, which is as long, in
    requests. On a connection whose requests contain `held` no answer comes through until `release` is set.
    """

    def __init__(
        self,
        server: str,
        cuts: Sequence[int] = (),
        rewrite: tuple[bytes, bytes] = (b"", b""),
        held: bytes | None = None,
    ) -> None:
        parts = urlsplit(server)
        self._server = (parts.hostname or "", parts.port or 80)
        self._cuts = list(cuts)
        self._rewrite = rewrite
        self._held = held
        self.release = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        #: The bytes of each connection's requests, and of the server's answers, also of those that were not passed on.
        self.requests: list[bytearray] = []
        self.answers: list[bytearray] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            number = len(self.requests)
            self.requests.append(bytearray())
            self.answers.append(bytearray())
            allowed = self._cuts[number] if number < len(self._cuts) else None
            threading.Thread(target=self._connect, args=(client, number, allowed), daemon=True).start()

    def _connect(self, client: socket.socket, number: int, allowed: int | None) -> None:
        with client:
            try:
                server = socket.create_connection(self._server)
            except OSError:
                return
            with server:
                threading.Thread(target=self._pass_requests, args=(client, server, number), daemon=True).start()
                self._pass_answers(client, server, number, allowed)

    def _pass_requests(self, client: socket.socket, server: socket.socket, number: int) -> None:
        with suppress(OSError):
            while piece := client.recv(65536):
                self.requests[number] += piece
                server.sendall(piece.replace(*self._rewrite) if self._rewrite[0] else piece)
            server.shutdown(socket.SHUT_WR)

    def _pass_answers(self, client: socket.socket, server: socket.socket, number: int, allowed: int | None) -> None:
        with suppress(OSError):
            while piece := server.recv(65536):
                before = len(self.answers[number])
                self.answers[number] += piece
                if self._held is not None and self._held in self.requests[number]:
                    self.release.wait()
                if allowed is not None and before + len(piece) > allowed:
                    client.sendall(piece[: allowed - before])
                    break
                client.sendall(piece)
            # The proxy ends both directions, or the other thread's recv would keep the connection open.
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting_proxy(
    server: str, cuts: Sequence[int] = (), rewrite: tuple[bytes, bytes] = (b"", b""), held: bytes | None = None
) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(server, cuts, rewrite, held)
    try:
        yield proxy
    finally:
        proxy.release.set()
        proxy.close()
