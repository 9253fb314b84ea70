"""Finds out who really sends a request, and to which address, as a trusted proxy in front of the server says.

A proxy tells the client's address, scheme and host in `X-Forwarded-For`, `-Proto` and `-Host`. Anybody can send these
headers, so they count only from the addresses of BACKLOT_TRUSTED_PROXIES. BACKLOT_PUBLIC_URL may have a path: a request
whose path begins with it is answered like one without it, so that a proxy need not remove it.
"""

import re
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from server.addresses import Address, address_of, networks

#: A host with or without a port, as it may appear in a link.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Proxies:
    """Wraps the whole application: puts the client that really asks into the scope, and takes the prefix off the path."""

    def __init__(self, app: ASGIApp, trusted: str, public_url: str) -> None:
        """Take the trusted addresses and networks, with commas between them. Raises ValueError for anything else."""
        self.app = app
        self.trusted = networks(trusted)
        # Every request asks both, and a LAN has few addresses.
        self._known_peer = lru_cache(maxsize=4096)(self._peer)
        self._trusts = lru_cache(maxsize=4096)(self._is_in_a_trusted_network)
        # A scope's path is decoded, so the prefix is too.
        self.prefix = unquote(urlsplit(public_url).path).rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        told = dict(scope)
        if scope["client"] is not None:
            host, port = scope["client"]
            peer, proxy = self._known_peer(host)
            told["client"] = (peer, port)
            if proxy is not None:
                self._believe(told, proxy)
        if self.prefix and f"{scope['path']}/".startswith(f"{self.prefix}/"):
            told["path"] = scope["path"][len(self.prefix) :]
        await self.app(told, receive, send)  # type: ignore[arg-type]

    def _peer(self, host: str) -> tuple[str, Address | None]:
        """Return the peer's address as text, and the address itself if it is a trusted proxy's."""
        address = address_of(host)
        if address is None:
            return host, None
        return str(address), address if self._trusts(address) else None

    def _is_in_a_trusted_network(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)

    def _believe(self, scope: dict[str, object], proxy: Address) -> None:
        """Take over what a trusted proxy says of the client, the scheme and the host."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]  # type: ignore[assignment]
        said = [(name, value) for name, value in headers if name.startswith(b"x-forwarded-")]
        if not said:
            return
        chain = _values(said, b"x-forwarded-for")
        client: Address | None = proxy
        # Each proxy appends the address that asked it, so the last one that is no trusted proxy's is the client's.
        for text in reversed(chain):
            client = address_of(text)
            if client is None or not self._trusts(client):
                break
        if client is not None:
            scope["client"] = (str(client), 0 if chain else scope["client"][1])  # type: ignore[index]
        scheme = _last(said, b"x-forwarded-proto")
        if scheme in ("http", "https"):
            scope["scheme"] = scheme
        host = _last(said, b"x-forwarded-host")
        if host is not None and _HOST.fullmatch(host):
            scope["headers"] = [*((n, v) for n, v in headers if n != b"host"), (b"host", host.encode())]


def _values(headers: list[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """Return the values of a header that is a list, and may be there more than once."""
    joined = b",".join(value for header, value in headers if header == name).decode("latin-1")
    return [value.strip() for value in joined.split(",") if value.strip()]


def _last(headers: list[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return what the nearest proxy said: it adds its own value at the end, or replaces what was there."""
    values = _values(headers, name)
    return values[-1] if values else None
