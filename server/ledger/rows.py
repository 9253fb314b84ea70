"""Rows of the ledger as Structs, and values as the ledger's JSON."""

import sqlite3
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def read(row: sqlite3.Row, into: type[T], *json: str) -> T:
    """Return a row, whose columns have the names of the Struct's fields; those of `json` hold JSON."""
    # dict(row) would look up each column by its name, which takes several times as long.
    values = dict(zip(row.keys(), row, strict=True))
    for name in json:
        values[name] = msgspec.json.decode(values[name])
    # SQLite has no truth values, only 0 and 1.
    return msgspec.convert(values, into, strict=False)


def as_json(value: Any) -> str:
    """Return a value as the text of a column that holds JSON."""
    return msgspec.json.encode(value).decode()
