"""The output of commands: lines and tables for people, JSON for scripts."""

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from backlot_client.command.bars import printable
from backlot_client.errors import BacklotError


class Failure(msgspec.Struct, frozen=True):
    """An error as the JSON output has it."""

    code: str
    message: str
    request_id: str | None


def failure_of(error: Exception) -> Failure:
    if isinstance(error, BacklotError):
        return Failure(error.code, str(error), error.request_id)
    return Failure(BacklotError.code, str(error), None)


def print_json(data: Any) -> None:
    print(msgspec.json.encode(data).decode(), flush=True)


def print_line(text: str) -> None:
    print(printable(text), flush=True)


def print_remark(text: str) -> None:
    """Print on standard error, since a script may read the results on standard output."""
    print(printable(text), file=sys.stderr, flush=True)


def print_table(rows: Sequence[msgspec.Struct], columns: Sequence[str]) -> None:
    """Print these fields of each row in aligned columns, never cut, so that ids can be copied and lines be searched."""
    if not rows:
        print("(none)")
        return
    cells = [list(columns), *([_cell(getattr(row, column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    for line in cells:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_cell, value)) or "-"
    return printable(str(getattr(value, "value", value)))
