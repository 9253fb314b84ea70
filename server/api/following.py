"""Waiting for a job, on behalf of a request."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from server.scheduler.events import EventHub

T = TypeVar("T")


async def follow(
    hub: EventHub, job_id: str, read: Callable[[], Awaitable[T]], enough: Callable[[T], bool], patience_s: float
) -> T:
    """Read until what was read is enough, the time is up or the server stops; return what was read last.

    Each read but the first comes after news of the job.
    """
    deadline = time.monotonic() + patience_s
    # Subscribed before the first read, so that nothing falls between the two.
    with hub.subscribed(job_id) as news:
        found = await read()
        while not enough(found) and not hub.closing and (left := deadline - time.monotonic()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), left)
            news.clear()
            found = await read()
    return found
