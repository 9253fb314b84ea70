"""Wakes the requests that wait for events, of a job or of a client's jobs. The events themselves are in the ledger."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from server.jobs import Job

#: The subject that a request waits for: a job, by its public id, or all jobs of a client, by the client's id.
Topic = str | int


class EventHub:
    """Subscribe *before* reading the ledger: what is written between the read and the wait has set the flag already."""

    def __init__(self) -> None:
        self._waiting: defaultdict[Topic, set[asyncio.Event]] = defaultdict(set)
        self.closing = False

    @contextmanager
    def subscribed(self, topic: Topic) -> Iterator[asyncio.Event]:
        flag = asyncio.Event()
        self._waiting[topic].add(flag)
        try:
            yield flag
        finally:
            self._waiting[topic].discard(flag)
            if not self._waiting[topic]:
                del self._waiting[topic]

    def is_followed(self, job_id: str) -> bool:
        """Return whether a request waits for news of this job."""
        return job_id in self._waiting

    def publish(self, job: Job) -> None:
        """Wake the requests that wait for this job, or for any job of its client."""
        for topic in (job.job_id, job.client_id):
            for flag in self._waiting.get(topic, ()):
                flag.set()

    def close(self) -> None:
        """Let every waiting request go; the server is stopping."""
        self.closing = True
        for flags in self._waiting.values():
            for flag in flags:
                flag.set()
