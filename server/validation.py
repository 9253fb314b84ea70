"""Check a decoded JSON or TOML table against a msgspec Struct and find every problem, not just the first.

msgspec stops at the first error it meets; people who fix a file or a request want to hear of all of them at once. So
each field is converted on its own, strictly (`"512"` is not an int), and lists and dicts element by element.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cache
from itertools import islice
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from pipelines.nearest_name import did_you_mean

#: Elements of a list or a dict, and unknown fields of an object, that are looked at one by one; more would only burn time.
MOST_PROBLEMS = 100
#: The pattern of a whole number in a header.
DIGITS = "^[0-9]{1,15}$"


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong. `kind` is a stable word such as `missing`, `extra_forbidden`, `int_type`, `value_error`."""

    loc: tuple[str | int, ...]
    kind: str
    message: str
    value: Any = None


def within(part: str, problems: Iterable[Problem]) -> list[Problem]:
    """Return problems of one part of a request as problems of the request."""
    return [msgspec.structs.replace(problem, loc=(part, *problem.loc)) for problem in problems]


@cache
def _fields(of: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """Return the fields by the names they are written under.

    They are kept, since working out their types takes longer than checking a spec.
    """
    return {field.encode_name: field for field in msgspec.structs.fields(of)}


def check(raw: object, into: type[msgspec.Struct]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the values that fit, by field name, and every problem found, in the order of the fields; unknown ones last."""
    if not isinstance(raw, dict):
        return {}, [Problem((), "object_type", f"Expected an object, got {_kind_of(raw)}", raw)]
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    fields = _fields(into)
    if raw.keys() <= fields.keys():
        # Most tables are right, which msgspec sees at once.
        try:
            whole = msgspec.convert(raw, into, strict=True)
        except msgspec.ValidationError:
            pass
        else:
            return {fields[name].name: getattr(whole, fields[name].name) for name in raw}, []
    for name, field in fields.items():
        if name not in raw:
            if field.required:
                problems.append(Problem((name,), "missing", "Field required"))
            continue
        found = _check_value(raw[name], field.type, (name,))
        if found:
            problems.extend(found)
        else:
            values[field.name] = msgspec.convert(raw[name], field.type, strict=True)
    extra = [name for name in raw if name not in fields]
    problems += [
        Problem((name,), "extra_forbidden", unknown("field", name, list(fields)), raw[name])
        for name in extra[:MOST_PROBLEMS]
    ]
    return values, problems


def _check_value(value: object, expected: Any, loc: tuple[str | int, ...]) -> list[Problem]:
    inner = [
        problem
        for place, item, item_type in islice(_items(value, expected), MOST_PROBLEMS)
        for problem in _check_value(item, item_type, (*loc, place))
    ]
    if inner:
        return inner
    try:
        msgspec.convert(value, expected, strict=True)
    except msgspec.ValidationError as error:
        message, _, place = str(error).replace("`key` in `$", "`$").partition(" - at `$")
        path = _path(place)
        loc, value = (*loc, *path), _at(value, path)
        kind, message = explained(message, value, expected)
        return [Problem(loc, kind, message, value)]
    except RecursionError:
        return [Problem(loc, "recursion", "Nested too deeply", None)]
    return []


def _items(value: object, expected: Any) -> Iterator[tuple[str | int, Any, Any]]:
    """Yield the items of a list or a dict that should be of one type, each with its place and that type."""
    if isinstance(value, list) and (element := _type_within(expected, (list, tuple))) is not None:
        yield from ((index, item, element) for index, item in enumerate(value))
    if isinstance(value, dict) and (element := _type_within(expected, (dict,))) is not None:
        yield from ((key, item, element) for key, item in value.items())


def _type_within(expected: Any, containers: tuple[type, ...]) -> Any:
    """Return X of `list[X]`, `tuple[X, ...]` or `dict[str, X]`, those of `containers`, also in a union or an annotation.

    Return None for any other type, and if X may be anything.
    """
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, UnionType):
        return next((found for inner in arguments if (found := _type_within(inner, containers)) is not None), None)
    if hasattr(expected, "__metadata__"):
        return _type_within(expected.__origin__, containers)
    if origin not in containers or (origin is tuple and arguments[1:] != (Ellipsis,)):
        return None
    element = arguments[1] if origin is dict else arguments[0]
    return None if element is Any else element


def choices(expected: Any) -> list[Any]:
    """Return the values of an enum or a Literal, and of those within a union or an annotation."""
    if get_origin(expected) is Literal:
        return list(get_args(expected))
    if isinstance(expected, type) and issubclass(expected, Enum):
        return [member.value for member in expected]
    return [choice for inner in get_args(expected) for choice in choices(inner)]


def _path(text: str) -> list[str | int]:
    """Return where msgspec found something wrong, up to the first dict: it does not name the key."""
    whole, _, _ = text.partition("[...]")
    return [int(index) if index else name for name, index in re.findall(r"\.([^.\[`]+)|\[(\d+)\]", whole)]


def _at(value: Any, path: list[str | int]) -> Any:
    """Return what is at a place within a value."""
    for part in path:
        value = value[part]
    return value


def explained(message: str, sent: object, expected: Any) -> tuple[str, str]:
    """Return the kind of a problem and its message, from msgspec's message, the value sent and the type expected."""
    if message.startswith("Invalid enum value"):
        # What was sent may be a list with the wrong value in it.
        wrong = message.removeprefix("Invalid enum value ").partition(" - at ")[0].strip("'")
        allowed = [*(["a whole number"] if int in get_args(expected) else []), *map(str, choices(expected))]
        return "enum", f"{wrong[:40]!r} is not one of {', '.join(allowed)}"
    if message.startswith("Invalid RFC3339"):
        return "value_error", not_a_time(str(sent))
    if message.endswith(f" matching regex '{DIGITS}'"):
        return "string_type", f"{str(sent)[:40]!r} is not a whole number of at most 15 digits"
    if " matching regex " in message:
        return "string_type", f"{str(sent)[:40]!r} does not fit {message.partition(' matching regex ')[2]}"
    kind = _kind(message)
    return kind, f"{message}, not {str(sent)[:40]}" if kind in ("greater_than_equal", "less_than_equal") else message


def not_a_time(sent: str) -> str:
    return f"{sent[:40]!r} is not a time; write it like 2026-11-25T09:00:00Z"


def _kind(message: str) -> str:
    if " of length >=" in message:
        return "too_short"
    if " of length <=" in message:
        return "too_long"
    if " >= " in message or " > " in message:
        return "greater_than_equal"
    if " <= " in message or " < " in message:
        return "less_than_equal"
    expected = re.match(r"Expected `([a-z]+)", message)
    return f"{_LONG_NAMES.get(expected[1], expected[1])}_type" if expected else "value_error"


_LONG_NAMES = {"str": "string", "array": "list", "object": "object"}


def _kind_of(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def unknown(kind: str, name: str, known: list[str]) -> str:
    """Say that there is no `kind` of this name, and which one may be meant."""
    if not known:
        return f"Unknown {kind} {name[:64]!r}; there are none here"
    hint = did_you_mean(name, known) or f"; the {kind}s are {', '.join(known)}"
    return f"Unknown {kind} {name[:64]!r}{hint}"
