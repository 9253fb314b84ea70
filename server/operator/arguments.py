"""The kinds of argument that commands take."""

from datetime import UTC, datetime, timedelta

import click

from server.client_names import EMPTY, name_problem

#: Digits of a whole number at most; Python refuses to read very many.
_MOST_DIGITS = 20
#: Characters of a text that a row of a list has room for.
MOST_TEXT = 200


class Whole(click.ParamType[int, str]):
    """A whole number from `least` to `most`."""

    name = "whole number"

    def __init__(self, least: int, most: int, *, zero: bool = True) -> None:
        """Take the bounds, and whether the number may be 0."""
        self.least = least
        self.most = most
        self.zero = zero

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "N"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        digits = value.removeprefix("-")
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS
        if not is_number or not self.least <= int(value) <= self.most:
            self.fail(f"{value[:40]!r} is not a whole number from {self.least} to {self.most}", param, ctx)
        if int(value) == 0 and not self.zero:
            self.fail("it cannot be 0", param, ctx)
        return int(value)


class Moment(click.ParamType[datetime, str]):
    """A time to come: a date, a date with a time, or days from now, such as `30d`."""

    name = "time"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "WHEN"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            moment = _moment(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time: write 2027-01-31, 2027-01-31T18:00Z or 30d for 30 days", param, ctx)
        if moment <= datetime.now(UTC):
            self.fail(f"{value!r} is over already", param, ctx)
        return moment


def _moment(text: str) -> datetime:
    """Return the time that a text means; one that names no zone is UTC's. Raises ValueError and OverflowError."""
    if text.endswith("d") and text[:-1].isdigit():
        return datetime.now(UTC) + timedelta(days=int(text[:-1]))
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Name(click.ParamType[str, str]):
    """A client's name: any text that is not all spaces."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.strip():
            self.fail(EMPTY, param, ctx)
        if (problem := _text_problem(value)) is not None:
            self.fail(problem, param, ctx)
        return value


class Text(click.ParamType[str, str]):
    """A short text for people, as the operator's routes take it; without the spaces around it."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if (problem := _text_problem(value)) is not None:
            self.fail(problem, param, ctx)
        if len(value) > MOST_TEXT:
            self.fail(f"it has {len(value)} characters; it may have {MOST_TEXT}", param, ctx)
        return value.strip()


class Id(click.ParamType[str, str]):
    """The id of a job, of an image or of a webhook delivery."""

    name = "id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.isascii():
            self.fail(f"{value[:40]!r} is no id, which has 26 letters and digits", param, ctx)
        return value


def _text_problem(text: str) -> str | None:
    """Say what is wrong with a text; arguments may hold any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{text[:40]!r} is not UTF-8 text"
    return None


class NewName(click.ParamType[str, str]):
    """A new client's name, which addresses must be able to carry. Clients of earlier versions may have other names."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if (problem := name_problem(value)) is not None:
            self.fail(problem, param, ctx)
        return value
