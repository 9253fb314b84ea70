"""Limits the requests of a key in a minute: submissions and reads are counted apart.

Litestar's own limit counts by the wall clock, so a clock that is set back locks a key out for as long as it was set back.
This one counts by the monotonic clock.
"""

import time
from collections.abc import Callable

import msgspec
from litestar.exceptions import TooManyRequestsException
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from server.api.capabilities import RULES
from server.ledger.clients import Caller, Capability

WINDOW_S = 60
#: Remove the windows that are over once this many are in memory.
MANY = 10_000


class Window(msgspec.Struct):
    """A minute of one key."""

    began: float
    count: int = 0


class Windows:
    """Counts by the minute for each key."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._windows: dict[int, Window] = {}

    def take(self, key_id: int) -> tuple[bool, int, int]:
        """Count a request; return whether it is within the limit, how many are left, and the seconds left of the minute."""
        now = self._clock()
        if len(self._windows) >= MANY:
            self._windows = {key: window for key, window in self._windows.items() if now - window.began < WINDOW_S}
        window = self._windows.get(key_id)
        if window is None or now - window.began >= WINDOW_S:
            window = self._windows[key_id] = Window(now)
        within = window.count < self.limit
        window.count += within
        return within, self.limit - window.count, max(1, round(window.began + WINDOW_S - now))


class RateLimit(ASGIMiddleware):
    """Refuses requests above the limit. It runs after authentication, so nobody fills the table with made-up keys."""

    def __init__(self, submissions: int, reads: int) -> None:
        """Take how many submissions and reads a key may make in a minute; 0 is no limit."""
        self._submissions = Windows(submissions)
        self._reads = Windows(reads)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        route = (str(scope.get("method")), scope["path_template"])
        windows = self._submissions if RULES.get(route) is Capability.CREATE else self._reads
        if not windows.limit:
            await next_app(scope, receive, send)
            return
        caller: Caller = scope["user"]
        within, left, reset = windows.take(caller.key_id)
        headers = {
            "RateLimit-Policy": f"{windows.limit}; w={WINDOW_S}",
            "RateLimit-Limit": str(windows.limit),
            "RateLimit-Remaining": str(left),
            "RateLimit-Reset": str(reset),
        }
        if not within:
            kind = "submissions" if windows is self._submissions else "reads"
            raise TooManyRequestsException(
                f"This key may make {windows.limit} {kind} a minute; wait {reset} s",
                headers={**headers, "Retry-After": str(reset)},
            )

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
                message["headers"] = [*message["headers"], *told]
            await send(message)

        await next_app(scope, receive, send_with_headers)
