"""A change that an operator makes over HTTP: its body, and its row in the request log, in one transaction with it."""

from collections.abc import Callable
from sqlite3 import Connection
from typing import Any, ParamSpec, TypeVar

import msgspec
from litestar import Request

from server.api.request_log import record_of
from server.api.workflows import decode_body
from server.errors import Conflict, Invalid, ResourceNotFound
from server.ledger import request_log
from server.ledger.clients import ClientExists, NoSuchClient, NoSuchKey
from server.ledger.credits import TooMuchTaken
from server.ledger.database import Database, Work
from server.validation import Problem, check

T = TypeVar("T")
P = ParamSpec("P")
Body = TypeVar("Body", bound=msgspec.Struct)


async def read_body(
    request: Request[Any, Any, Any],
    into: type[Body],
    own_problems: Callable[[dict[str, Any]], list[Problem]] = lambda values: [],
) -> Body:
    """Return the body. Raises Invalid with every problem found.

    `own_problems` returns what is wrong with the values that have the right type.
    """
    values, problems = check(decode_body(await request.body()), into)
    problems = own_problems(values) + problems
    if problems:
        raise Invalid([msgspec.structs.replace(problem, loc=("body", *problem.loc)) for problem in problems])
    return into(**values)


async def change(
    request: Request[Any, Any, Any],
    database: Database,
    status: int,
    work: Work[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run `work` with these arguments, and write the request's row with the status of its answer.

    Both or neither, and durable when this returns.
    Raises ResourceNotFound or Conflict if the ledger does not allow it.
    """
    record = record_of(request.scope)
    record.status = status
    row = record.row()

    def write(connection: Connection) -> T:
        result = work(connection, *args, **kwargs)
        request_log.insert(connection, row)
        return result

    try:
        result = await database.write(write)
    except (NoSuchClient, NoSuchKey) as error:
        raise ResourceNotFound(sentence(error)) from None
    except (ClientExists, TooMuchTaken) as error:
        raise Conflict(sentence(error)) from None
    record.written = True
    return result


def sentence(error: Exception | str) -> str:
    """Return an error's text with a capital first letter."""
    text = str(error)
    return text[0].upper() + text[1:]
