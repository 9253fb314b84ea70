"""HEAD, answered wherever GET is."""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Runs a HEAD as its GET and sends the status and the headers alone, without waiting for the end of a stream."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return

        async def send_allowing_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [_allow(*header) for header in message["headers"]]
            await send(message)

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send_allowing_head(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        if scope["method"] != "HEAD":
            await self.app(scope, receive, send_allowing_head)
            return
        await self.app({**scope, "method": "GET"}, receive, send_head)


def _allow(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return the header; an Allow with GET names HEAD too."""
    if name.lower() == b"allow" and b"GET" in value and b"HEAD" not in value:
        return name, value + b", HEAD"
    return name, value
