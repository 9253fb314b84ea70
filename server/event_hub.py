"""Wakes the requests that wait for a job's events. The events themselves are in the ledger."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

#: In place of a job: news of any.
ANY_JOB = "any"


class EventHub:
    """Subscribe *before* reading the ledger: what is written between the read and the wait has set the flag already."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.closing = False

    @contextmanager
    def subscribed(self, job_id: str) -> Iterator[asyncio.Event]:
        flag = asyncio.Event()
        self._waiting[job_id].add(flag)
        try:
            yield flag
        finally:
            self._waiting[job_id].discard(flag)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def is_followed(self, job_id: str) -> bool:
        """Return whether a request waits for news of this job."""
        return job_id in self._waiting

    def publish(self, job_id: str) -> None:
        for topic in (job_id, ANY_JOB):
            for flag in self._waiting.get(topic, ()):
                flag.set()

    def close(self) -> None:
        """Let every waiting request go; the server is stopping."""
        self.closing = True
        for flags in self._waiting.values():
            for flag in flags:
                flag.set()
