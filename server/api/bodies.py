"""Bodies of requests, which the routes decode themselves, so that every problem is told and not just the first."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from litestar import Request

from server.errors import Invalid
from server.validation import Problem, check, within

Body = TypeVar("Body", bound=msgspec.Struct)


def decode_body(body: bytes) -> Any:
    """Return the body's JSON. Raises Invalid of kind `json_invalid`."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = "nested too deeply" if isinstance(error, RecursionError) else str(error) if body else "it is empty"
        raise Invalid([Problem(("body",), "json_invalid", f"The body is not JSON: {detail}")]) from None


async def read_body(
    request: Request[Any, Any, Any],
    into: type[Body],
    own_problems: Callable[[dict[str, Any]], list[Problem]] = lambda values: [],
    others: Sequence[Problem] = (),
) -> Body:
    """Return the body. Raises Invalid with every problem found, and `others`, which are not the body's.

    `own_problems` returns what is wrong with the values that have the right type.
    """
    values, problems = check(decode_body(await request.body()), into)
    problems = own_problems(values) + problems
    if problems or others:
        raise Invalid([*others, *within("body", problems)])
    return into(**values)
