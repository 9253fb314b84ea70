"""Times as the wire writes them: UTC, microseconds, ending in `Z`; they sort as text."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta

#: A time as text; the OpenAPI document says what it is.
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
#: A day, `2026-11-25`.
Date = Annotated[str, Meta(extra_json_schema={"format": "date"})]


def now() -> str:
    return as_text(datetime.now(UTC))


def ago(span: timedelta) -> str:
    return as_text(datetime.now(UTC) - span)


def later(span: timedelta) -> str:
    return as_text(datetime.now(UTC) + span)


def as_text(moment: datetime) -> str:
    """Return a moment as the wire writes it; a naive one is in UTC, one beyond the years 1–9999 is moved to their edge."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        in_utc = aware.astimezone(UTC)
    except OverflowError:
        in_utc = datetime(1, 1, 1, tzinfo=UTC) if aware.year == 1 else datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    return in_utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def span(since: datetime | None, until: datetime | None) -> tuple[str, str]:
    """Return two moments as text. An open end is not now: if the clock was set back, what came earlier is ahead of it."""
    return "" if since is None else as_text(since), as_text(until or datetime.max.replace(tzinfo=UTC))


class ClockWatch:
    """Notices that the wall clock was set back, by comparing it with the steady clock.

    The two cannot be read at the very same moment. Each look compares with the furthest that the wall clock was ahead, so
    that these small differences do not add up.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        #: The furthest that the wall clock was ahead of the steady one, in seconds, less the seconds that were forgotten.
        self._ahead = wall() - steady()

    def look(self) -> float:
        """Return by how many seconds the wall clock was set back, less those that were forgotten."""
        ahead = self._wall() - self._steady()
        self._ahead = max(self._ahead, ahead)
        return self._ahead - ahead

    def forget(self, seconds: float) -> None:
        """Forget this many of the seconds that `look` returned; the caller has made up for them."""
        self._ahead -= seconds
