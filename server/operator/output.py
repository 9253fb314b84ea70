"""The output of the commands: JSON for scripts; tables and sentences for people."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from pipelines.printable import printable, printable_lines

#: Every command whose answer a script may read has this option.
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")

#: The width of a table that goes to a file or a pipe: no line of it is ever broken.
_UNBROKEN = 1_000_000
#: A column with spaces in it and wider than this may be broken between words.
_PROSE = 20


def show(answer: object, text: str, *, as_json: bool) -> None:
    """Print `text`, or `answer` as JSON."""
    _print(_json(answer) if as_json else printable_lines(text))


def tell(text: str, *, as_json: bool) -> None:
    """Print a part of an answer whose rest takes a while, but not as JSON, which `show` prints whole in the end."""
    if not as_json:
        _print(printable_lines(text))


def show_table(rows: Sequence[object], *, as_json: bool) -> None:
    """Print one line per row, a Struct or a dict, under the names of its fields; or the rows as JSON."""
    if as_json:
        _print(_json(rows))
    elif not rows:
        _print("(none)")
    else:
        _print(_table(msgspec.to_builtins(rows)))


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows under the names of their fields; one field per line if the terminal is too narrow for whole words."""
    # Imported here: rich takes longer to import than most commands take to run, and scripts read JSON.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = {name: [_cell(row[name]) for row in rows] for name in rows[0]}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name, column in cells.items():
        width = max(map(len, (name, *column)))
        # Only prose is broken: an identifier or a path must be whole to be copied.
        prose = width > _PROSE and any(" " in cell for cell in column)
        table.add_column(name, no_wrap=not prose, min_width=None if prose else width, overflow="fold")
    for line in zip(*cells.values(), strict=True):
        table.add_row(*map(Text, line))
    console = Console(width=None if sys.stdout.isatty() else _UNBROKEN)
    if console.measure(table, options=console.options.update(width=_UNBROKEN)).minimum > console.width:
        return _records(cells)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _records(cells: dict[str, list[str]]) -> str:
    width = max(map(len, cells))
    records = [zip(cells, line, strict=True) for line in zip(*cells.values(), strict=True)]
    return "\n\n".join("\n".join(f"{name:{width}}  {cell}" for name, cell in record if cell) for record in records)


def _cell(value: object) -> str:
    if isinstance(value, list | tuple):
        return printable(" ".join(map(str, value)))
    return "" if value is None else printable(str(value))


def _json(answer: object) -> str:
    """Return `answer` as JSON that is safe to print: what JSON itself leaves as it is, such as U+009B, is escaped too."""
    text = msgspec.json.encode(answer).decode()
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The reader, such as `head`, has read enough. Python would flush again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
