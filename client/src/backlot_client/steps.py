"""Keeps logic and I/O apart: a *flow* is a generator that yields the steps it needs done and gets their results.

All of this client's logic is written once, as flows. `Client` and `AsyncClient` do the steps, each in its own way, and
nothing else. A step that meets a network fault has `Unreachable` raised in the flow, at its `yield`.
"""

from collections.abc import Generator, Mapping
from typing import Any, TypeVar

import httpx
import msgspec

from backlot_client.errors import Unreachable

T = TypeVar("T")

#: Seconds after which an attempt to connect is given up.
CONNECT_S = 5.0
#: Seconds without a byte after which a request that is being sent, or an ordinary answer, is given up.
ANSWER_S = 30.0


class Send(msgspec.Struct, frozen=True):
    """Send a request. The result is the `httpx.Response`, read whole unless `stream` is set and it is a 2xx."""

    method: str
    #: A path of the API, or a whole URL.
    url: str
    params: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    content: bytes | None = None
    #: Seconds without a byte after which the answer is given up.
    read_timeout_s: float = ANSWER_S
    stream: bool = False
    #: Whether to send the client's key, which is kept out of here so that no traceback shows it.
    with_key: bool = True

    def build(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        timeout = httpx.Timeout(CONNECT_S, read=self.read_timeout_s, write=ANSWER_S, pool=None)
        # None if there are no parameters: for an empty mapping httpx would remove those that the URL has.
        params = {name: value for name, value in self.params.items() if value is not None} or None
        return http.build_request(
            self.method, self.url, params=params, headers=self.headers, content=self.content, timeout=timeout
        )


class Read(msgspec.Struct, frozen=True):
    """Read on in the response last sent for as a stream. The result is some bytes, or none at its end."""


class Pause(msgspec.Struct, frozen=True):
    seconds: float


class Ended(msgspec.Struct, frozen=True):
    """The result of a flow that has ended."""

    value: Any


Step = Send | Read | Pause
#: A flow that returns a T.
Flow = Generator[Step, Any, T]
#: A flow that also gives items on its way.
ItemFlow = Generator[Step | T, Any, None]


def resume(flow: Generator[T, Any, Any], result: Any = None) -> T | Ended:
    """Go on with a flow, for the first time or with the result of its last step. Return what it yields next.

    An error that the step met is raised in the flow.
    """
    try:
        return flow.throw(result) if isinstance(result, Unreachable) else flow.send(result)
    except StopIteration as end:
        return Ended(end.value)
