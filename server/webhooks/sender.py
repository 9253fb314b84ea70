"""Sends what the outbox holds, for as long as the server runs.

The ledger is the queue: this process keeps only the requests under way, so a kill of the server loses nothing. A delivery
whose outcome did not reach the ledger is sent again, with the same `webhook-id`.
"""

import asyncio
import logging
import random
import sqlite3
import time
from contextlib import suppress
from datetime import timedelta

import httpx
import msgspec

from server import metrics
from server.api import views
from server.api.views import Linker, WebhookMessage
from server.clock import ClockWatch, later
from server.ledger import job_reads, webhooks
from server.ledger.database import Database
from server.ledger.webhooks import DeliveryState, DueDelivery
from server.webhooks.admission import PER_CLIENT, admit
from server.webhooks.retries import TRIES, wait_s
from server.webhooks.signing import signed_headers

log = logging.getLogger(__name__)

#: Seconds between looks into the outbox. The operator's command writes into it from another process.
POLL_S = 0.5
#: Seconds between counts of the pending deliveries.
COUNT_S = 5.0
#: Seconds that a receiver has for its answer, the connection included.
ANSWER_S = 10.0
#: Bytes read of an answer's body, so that its connection can be used again. Only the status counts.
MOST_READ = 64 * 1024
#: Seconds that requests under way may hold up a stop.
STOP_S = 2.0
#: Seconds that the wall clock must be set back before retries move with it; less delays no delivery noticeably.
SET_BACK_S = 1.0
#: The longest pause, in seconds, before a ledger that refuses is tried again. It begins at POLL_S and doubles each time.
LONGEST_PAUSE_S = 30.0


class Answer(msgspec.Struct, frozen=True):
    """The outcome of one try."""

    #: The HTTP status; None if there was no answer.
    status: int | None
    #: The fault; None if the receiver took the message.
    error: str | None


class WebhookSender:
    def __init__(self, database: Database, linker: Linker) -> None:
        self._database = database
        self._linker = linker
        self._clock = ClockWatch()
        #: Seconds that the clock was set back while no server ran; None until the ledger was asked.
        self._ahead_s: float | None = None
        #: Clients whose receiver gave no answer to the last try.
        self._silent: set[int] = set()
        self._count_at = 0.0
        self._in_flight: dict[asyncio.Task[None], DueDelivery] = {}
        #: Set when a request has ended, so that the next one need not wait for the next look.
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Send deliveries until cancelled; then give the requests under way a moment to end."""
        # The bounds of `admit` are the limit; a pool with a limit of its own would let receivers wait for each other.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        headers = {"User-Agent": "Backlot", "Content-Type": "application/json"}
        async with httpx.AsyncClient(follow_redirects=False, timeout=ANSWER_S, limits=limits, headers=headers) as http:
            pause = POLL_S
            try:
                while True:
                    try:
                        await self._follow_clock()
                        await self._send_due(http)
                        await self._count()
                        pause = POLL_S
                    except Exception:
                        pause = min(pause * 2, LONGEST_PAUSE_S)
                        log.exception("The webhook deliveries could not be read; trying again in %.1f s", pause)
                    # In Python 3.11, wait_for may swallow a cancel that comes together with the event.
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._ended.wait()
                    self._ended.clear()
            finally:
                await self._let_end()

    async def _follow_clock(self) -> None:
        """Move the retries if the wall clock was set back, since the last look or while no server ran."""
        if self._ahead_s is None:
            self._ahead_s = await self._database.read(webhooks.seconds_ahead)
        seen = self._clock.look()
        set_back = self._ahead_s + seen
        if set_back >= SET_BACK_S:
            log.warning("The clock was set back by %.0f s; webhook retries move with it", set_back)
            await self._database.write(webhooks.follow_clock, set_back)
            self._ahead_s = 0.0
            self._clock.forget(seen)

    async def _send_due(self, http: httpx.AsyncClient) -> None:
        """Begin the requests that are due and within bounds."""
        # Take these before the read: a delivery that ends meanwhile may still look due in it, and must not be sent twice.
        in_flight = list(self._in_flight.values())
        # Read twice as many as may be in flight, so that those do not hide the deliveries that are due behind them.
        due = await self._database.read(webhooks.due, 2 * PER_CLIENT)
        for delivery in admit(due, in_flight, self._silent):
            task = asyncio.create_task(self._deliver(http, delivery))
            self._in_flight[task] = delivery
            task.add_done_callback(self._leave)

    async def _count(self) -> None:
        """Set the metric of pending deliveries, but only now and then: counting a long outbox takes milliseconds."""
        if time.monotonic() >= self._count_at:
            self._count_at = time.monotonic() + COUNT_S
            metrics.webhooks_pending.set(await self._database.read(webhooks.pending))

    def _leave(self, task: asyncio.Task[None]) -> None:
        del self._in_flight[task]
        self._ended.set()

    async def _let_end(self) -> None:
        """Wait for the requests under way, but not for long; those that are cut off are sent again after the next start."""
        if not self._in_flight:
            return
        _, late = await asyncio.wait(self._in_flight, timeout=STOP_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _deliver(self, http: httpx.AsyncClient, delivery: DueDelivery) -> None:
        """Try a delivery once, and note what became of it."""
        try:
            answer = await self._post(http, delivery)
        except Exception as error:
            log.exception("The webhook %s could not be sent", delivery.webhook_id)
            answer = Answer(None, f"could not be sent: {type(error).__name__}; the server's log has more")
        if answer.status is None:
            self._silent.add(delivery.client_id)
        else:
            self._silent.discard(delivery.client_id)
        await self._note(delivery, answer)

    async def _post(self, http: httpx.AsyncClient, delivery: DueDelivery) -> Answer:
        body = await self._body(delivery)
        headers = signed_headers(delivery.secrets, delivery.webhook_id, int(time.time()), body)
        status: int | None = None
        try:
            # httpx's own timeout is for each part of the answer, not for all of it.
            async with (
                asyncio.timeout(ANSWER_S),
                http.stream("POST", delivery.url, content=body, headers=headers) as response,
            ):
                status = response.status_code
                read = 0
                async for part in response.aiter_raw():
                    read += len(part)
                    if read > MOST_READ:
                        break
        except (TimeoutError, httpx.TimeoutException):
            if status is None:
                return Answer(None, f"no answer within {ANSWER_S:g} s")
        except httpx.TransportError as error:
            if status is None:
                return Answer(None, f"{type(error).__name__}: {error}".removesuffix(": ")[:200])
        return Answer(status, _refusal(status))

    async def _body(self, delivery: DueDelivery) -> bytes:
        job = await self._database.read(job_reads.detail, delivery.client_id, delivery.job_id)
        if job is None:
            raise LookupError(f"the job {delivery.job_id} is not one of client {delivery.client_id}")
        view = views.job(job, self._linker, queue_position=None, estimated_seconds=None, progress=0.0)
        return msgspec.json.encode(WebhookMessage(delivery.event, delivery.occurred_at, view))

    async def _note(self, delivery: DueDelivery, answer: Answer) -> None:
        """Write the outcome of a try, however long the ledger refuses it.

        Until then the delivery counts as in flight; otherwise it would be sent again and again.
        """
        tries, due_at = delivery.tries + 1, None
        if answer.error is not None:
            wait = wait_s(tries, random.random())  # noqa: S311  no secret
            due_at = None if wait is None else later(timedelta(seconds=wait))
            log.warning(
                "Webhook %s of job %s, try %d of %d: %s; %s",
                delivery.webhook_id,
                delivery.job_id,
                tries,
                TRIES,
                answer.error,
                "given up" if due_at is None else f"next try at {due_at}",
            )

        def write(connection: sqlite3.Connection) -> DeliveryState:
            return webhooks.note_try(connection, delivery.id, answer.status, answer.error, due_at)

        pause = POLL_S
        while True:
            try:
                state = await self._database.write(write)
                break
            except Exception:
                log.exception("Webhook %s could not be noted; trying again in %.1f s", delivery.webhook_id, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
        metrics.webhook_tries.labels("failed" if state is DeliveryState.PENDING else state).inc()


def _refusal(status: int) -> str | None:
    """Say what is wrong with an answer of this status; None if it is a success."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed, so set the new address"
    return f"answered {status}"
