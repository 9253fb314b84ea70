"""Follows a job: gives its events in order, each once, whatever happens to the connection."""

import httpx
import msgspec

from backlot_client import calls
from backlot_client.answers import JobEvent
from backlot_client.errors import BacklotError, WaitTimeout, unexpected_answer
from backlot_client.event_stream import EventStreamDecoder
from backlot_client.flows import call, once, pause_or_raise
from backlot_client.retries import Retries
from backlot_client.steps import ItemFlow, Pause, Read, Send
from backlot_client.stopwatch import Stopwatch

#: Seconds without a byte after which a stream is given up. The server gives a sign of life every 15 s.
SILENCE_S = 45.0
#: Streams in a row that brought no event, after which events are polled: something on the way holds them back.
BARREN_STREAMS = 2
#: Seconds that a poll waits for news.
POLL_S = 25.0
#: Within this many seconds of a deadline events are polled, since a poll can be told when to end.
LAST_STRETCH_S = 20.0


class Following:
    """One job's events after `since`, up to its last.

    A stream that breaks is resumed after the last event seen. Faults that pass are borne for as long as the retries
    allow, counted from the last sign of life.
    """

    def __init__(self, retries: Retries, job_id: str, since: int = 0, timeout_s: float | None = None) -> None:
        self._retries = retries
        self._job_id = job_id
        self._seen = since
        self._has_ended = False
        self._timeout_s = timeout_s
        self._watch = Stopwatch()
        self._barren_streams = 0
        self._note_life()

    def events(self) -> ItemFlow[JobEvent]:
        """Give each event once. Raises WaitTimeout, Unreachable, ApiError, UnexpectedAnswer."""
        while not self._has_ended:
            if self._left_s <= 0:
                raise WaitTimeout(f"Job {self._job_id} did not end within {self._timeout_s:g} s")
            if self._barren_streams >= BARREN_STREAMS or self._left_s <= LAST_STRETCH_S:
                yield from self._poll()
            else:
                yield from self._stream()

    def _stream(self) -> ItemFlow[JobEvent]:
        """Give events until the stream ends or breaks; in the latter case wait as retries do."""
        try:
            response = yield from once(self._opening())
            self._note_life()
            if response.headers.get("Content-Type", "").startswith("text/event-stream"):
                self._barren_streams += 1
                yield from self._streamed(response)
            else:
                self._barren_streams = BARREN_STREAMS
        except BacklotError as error:
            self._faults += 1
            seconds = pause_or_raise(self._retries, error, self._faults, self._life)
            yield Pause(max(0.0, min(seconds, self._left_s)))

    def _opening(self) -> Send:
        return Send(
            "GET",
            calls.events(self._job_id, 0, 0).path,
            headers={"Accept": "text/event-stream", "Last-Event-ID": str(self._seen)},
            read_timeout_s=min(SILENCE_S, self._left_s),
            stream=True,
        )

    def _streamed(self, response: httpx.Response) -> ItemFlow[JobEvent]:
        decoder = EventStreamDecoder()
        before = self._seen
        while piece := (yield Read()):
            self._note_life()
            for message in decoder.feed(piece):
                self._barren_streams = 0
                try:
                    event = msgspec.json.decode(message.data, type=JobEvent)
                except (msgspec.DecodeError, msgspec.ValidationError) as error:
                    raise unexpected_answer(response, str(error)) from error
                yield from self._give(event)
            if self._has_ended or self._left_s <= LAST_STRETCH_S:
                return
        # The server closed the stream before the job's last event: it is stopping, or all events were seen before.
        if self._seen == before:
            yield from self._look_for_the_end()

    def _poll(self) -> ItemFlow[JobEvent]:
        wait_s = round(max(0.0, min(POLL_S, self._left_s)), 3)
        page = yield from call(self._retries, calls.events(self._job_id, self._seen, wait_s))
        for event in page.events:
            yield from self._give(event)
        if not page.events:
            yield from self._look_for_the_end()

    def _give(self, event: JobEvent) -> ItemFlow[JobEvent]:
        if event.seq > self._seen:
            self._seen = event.seq
            self._has_ended = event.is_last
            yield event

    def _look_for_the_end(self) -> ItemFlow[JobEvent]:
        """Find out if the job's last event was seen before, since no new one came; if it was not, wait a moment."""
        job = yield from call(self._retries, calls.job(self._job_id))
        self._has_ended = job.has_ended and (job.latest_event is None or job.latest_event.seq <= self._seen)
        if not self._has_ended:
            yield Pause(max(0.0, min(self._retries.first_s, self._left_s)))

    def _note_life(self) -> None:
        self._faults, self._life = 0, Stopwatch()

    @property
    def _left_s(self) -> float:
        return float("inf") if self._timeout_s is None else self._timeout_s - self._watch.elapsed_s()
