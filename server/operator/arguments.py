"""The kinds of argument that commands take. Each is a function that reads the text, or raises click.BadParameter."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import click

from server.client_names import EMPTY, name_problem

#: Digits of a whole number at most; Python refuses to read very many.
_MOST_DIGITS = 20
#: Characters of a text that a row of a list has room for.
MOST_TEXT = 200


def whole(least: int, most: int, *, zero: bool = True) -> Callable[[str], int]:
    """Return the kind of a whole number from `least` to `most`, which may be 0 only if `zero`."""

    def read(value: str) -> int:
        digits = value.removeprefix("-")
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS
        if not is_number or not least <= int(value) <= most:
            raise click.BadParameter(f"{value[:40]!r} is not a whole number from {least} to {most}")
        if int(value) == 0 and not zero:
            raise click.BadParameter("it cannot be 0")
        return int(value)

    return read


def when(value: str) -> datetime:
    """Return a time to come: a date, a date with a time, or days from now, such as `30d`. One without a zone is UTC's."""
    moment = _moment(value, 1)
    if moment <= datetime.now(UTC):
        raise click.BadParameter(f"{value!r} is over already")
    return moment


def past(value: str) -> datetime:
    """Return a time that may be over: a date, a date with a time, or days before now. One without a zone is UTC's."""
    return _moment(value, -1)


def _moment(value: str, sign: int) -> datetime:
    """Return the time that a text names; `30d` are 30 days from now, times `sign`."""
    try:
        if value.endswith("d") and value[:-1].isdigit():
            moment = datetime.now(UTC) + sign * timedelta(days=int(value[:-1]))
        else:
            moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is no time: write 2027-01-31, 2027-01-31T18:00Z or 30d for 30 days"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def client_name(value: str) -> str:
    """Return a client's name: any text that is not all spaces."""
    if not value.strip():
        raise click.BadParameter(EMPTY)
    return _utf8(value)


def new_client_name(value: str) -> str:
    """Return a new client's name, which addresses can carry. Clients of earlier versions may have other names."""
    if (problem := name_problem(value)) is not None:
        raise click.BadParameter(problem)
    return value


def text(value: str) -> str:
    """Return a short text for people, as the operator's routes take it; without the spaces around it."""
    if len(_utf8(value)) > MOST_TEXT:
        raise click.BadParameter(f"it has {len(value)} characters; it may have {MOST_TEXT}")
    return value.strip()


def ulid(value: str) -> str:
    """Return the id of a job, of an image or of a webhook delivery."""
    if not value.isascii():
        raise click.BadParameter(f"{value[:40]!r} is no id, which has 26 letters and digits")
    return value


def _utf8(value: str) -> str:
    """Return a text; arguments may hold any bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise click.BadParameter(f"{value[:40]!r} is not UTF-8 text") from None
    return value


limit_option = click.option(
    "--limit", type=whole(1, 1_000_000), metavar="N", default="50", show_default=True, help="How many at most."
)
