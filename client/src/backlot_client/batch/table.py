"""The rows of a batch: a CSV file whose columns are a spec's fields, or a JSON Lines file of specs."""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec

from backlot_client.spec import BackgroundSpec, Lora

_FIELDS = {field.name: field for field in msgspec.structs.fields(BackgroundSpec)}
#: `metadata.shot` is the field `shot` of the metadata.
_METADATA = "metadata."
_canonical = msgspec.json.Encoder(order="sorted")


class Row(msgspec.Struct, frozen=True):
    #: From 1, without blank lines and the header.
    number: int
    spec: BackgroundSpec
    #: The same for the same spec at any place in the file. Equal rows are told apart by their order.
    identity: str


class TableError(Exception):
    """The file cannot be a batch. `problems` has everything that is wrong with it, each with its line."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        shown = problems[:20] + ([f"and {len(problems) - 20} more"] if len(problems) > 20 else [])
        super().__init__(f"{path} was not begun:\n" + "\n".join(f"  {problem}" for problem in shown))
        self.problems = problems


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file. Raises TableError, OSError."""
    readers = {".csv": _csv_specs, ".jsonl": _json_specs, ".ndjson": _json_specs}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TableError(path, [f"its name ends in {path.suffix!r}; a batch is a .csv or a .jsonl file"])
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(path, [f"byte {error.start} is not UTF-8; save it as UTF-8"]) from error
    specs: list[BackgroundSpec] = []
    problems: list[str] = []
    for found in reader(text):
        if isinstance(found, str):
            problems.append(found)
        else:
            specs.append(found)
    if not specs and not problems:
        problems.append("it has no rows")
    if problems:
        raise TableError(path, problems)
    return list(_numbered(specs))


def _numbered(specs: Iterable[BackgroundSpec]) -> Iterator[Row]:
    seen: Counter[bytes] = Counter()
    for number, spec in enumerate(specs, 1):
        text = _canonical.encode(spec)
        seen[text] += 1
        digest = hashlib.sha256(text + str(seen[text]).encode()).hexdigest()
        yield Row(number, spec, digest[:32])


def _json_specs(text: str) -> Iterator[BackgroundSpec | str]:
    """Give each line's spec, or what is wrong with it."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield msgspec.json.decode(line, type=BackgroundSpec)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            yield f"line {number}: {error}"


def _csv_specs(text: str) -> Iterator[BackgroundSpec | str]:
    """Give each row's spec, or what is wrong with it. An empty cell is a field left out."""
    lines = csv.reader(StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        if problems := list(_header_problems(header)):
            yield from problems
            return
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield _csv_spec(lines.line_num, header, cells)
    except csv.Error as error:
        yield f"line {lines.line_num}: {error}"


def _delimiter(text: str) -> str:
    """Return the character that separates the header's names: spreadsheets write semicolons in some countries."""
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)


def _header_problems(header: list[str]) -> Iterator[str]:
    columns = Counter(header)
    unknown = [
        name for name in columns if name not in _FIELDS and not (name.startswith(_METADATA) and name != _METADATA)
    ]
    if unknown:
        names = ", ".join(map(repr, unknown))
        yield f"no field of a spec is called {names}; the fields are {', '.join(_FIELDS)}, and metadata.ANYTHING"
    yield from (f"column {name!r} is there {times} times" for name, times in columns.items() if times > 1)
    for name, field in _FIELDS.items():
        if field.required and name not in header:
            yield f"column {name!r} is missing"


def _csv_spec(line: int, header: list[str], cells: list[str]) -> BackgroundSpec | str:
    if len(cells) > len(header):
        return f"line {line}: it has {len(cells)} cells, and the header {len(header)}"
    values: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    try:
        for name, cell in zip(header, (cell.strip() for cell in cells), strict=False):
            if not cell:
                continue
            if name.startswith(_METADATA):
                metadata[name.removeprefix(_METADATA)] = cell
            else:
                values[name] = _value(name, cell)
        if metadata:
            values["metadata"] = {**values.get("metadata", {}), **metadata}
        return msgspec.convert(values, BackgroundSpec)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        return f"line {line}: {error}"


def _value(name: str, cell: str) -> Any:
    """Return what a cell says as the field's type. Raises a msgspec error that names the field."""
    kind = _FIELDS[name].type
    try:
        if name == "dominant_colors":
            return [color for color in re.split(r"[\s,;|]+", cell) if color]
        if name == "metadata":
            return msgspec.json.decode(cell, type=dict[str, Any])
        if name == "loras":
            return msgspec.json.decode(cell, type=list[Lora])
        return msgspec.convert(cell, kind, strict=False)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise msgspec.ValidationError(f"{name} {cell!r}: {error}") from error
