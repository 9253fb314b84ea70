"""Times as the wire writes them: UTC, microseconds, ending in `Z`; they sort as text."""

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


def as_text(moment: datetime) -> str:
    """A naive `moment` is taken as UTC; one beyond the years 1–9999 there is moved to their edge."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        in_utc = aware.astimezone(UTC)
    except OverflowError:
        in_utc = datetime(1, 1, 1, tzinfo=UTC) if aware.year == 1 else datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    return in_utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
