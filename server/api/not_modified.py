"""304, for a client that has a file already: it says so with the ETag that it got (RFC 9110, 13.1.2)."""

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

#: The headers that a 304 has of the file that it does not send.
_KEPT = (b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary")


class NotModified(ASGIMiddleware):
    """Sends a 304 and the headers alone if the client has the route's answer already."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        known = next((value for name, value in scope["headers"] if name == b"if-none-match"), None)
        if known is None:
            await next_app(scope, receive, send)
            return
        tags = {tag.strip().removeprefix(b"W/") for tag in known.split(b",")}
        is_known = False

        async def send_if_new(message: Message) -> None:
            nonlocal is_known
            if message["type"] == "http.response.start" and message["status"] == 200:
                headers = [(name, value) for name, value in message["headers"] if name.lower() in _KEPT]
                etag = next((value for name, value in headers if name.lower() == b"etag"), None)
                is_known = etag is not None and (b"*" in tags or etag.removeprefix(b"W/") in tags)
                if is_known:
                    await send({"type": "http.response.start", "status": 304, "headers": headers})
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            if not is_known:
                await send(message)

        await next_app(scope, receive, send_if_new)
