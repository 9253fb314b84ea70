"""A change that an operator makes over HTTP: its body, and its row in the request log, in one transaction with it."""

from collections.abc import Callable
from sqlite3 import Connection
from typing import Any, TypeVar

import msgspec
from litestar import Request

from server.api.request_log import record_of
from server.api.workflows import decode_body
from server.errors import Conflict, Invalid, ResourceNotFound
from server.ledger import request_log
from server.ledger.clients import ClientExists, NoSuchClient, NoSuchKey
from server.ledger.credits import TooMuchTaken
from server.ledger.database import Database
from server.validation import check

T = TypeVar("T")
Body = TypeVar("Body", bound=msgspec.Struct)


async def read_body(request: Request[Any, Any, Any], into: type[Body]) -> Body:
    """Return the request's body. Raises Invalid with every problem found."""
    values, problems = check(decode_body(await request.body()), into)
    if problems:
        raise Invalid([msgspec.structs.replace(problem, loc=("body", *problem.loc)) for problem in problems])
    return into(**values)


async def change(
    request: Request[Any, Any, Any], database: Database, status: int, work: Callable[[Connection], T]
) -> T:
    """Run `work` and write the request's row with the status of its answer: both or neither, durable when this returns.

    Raises ResourceNotFound or Conflict if the ledger does not allow it.
    """
    record = record_of(request.scope)
    record.status = status
    row = record.row()

    def write(connection: Connection) -> T:
        result = work(connection)
        request_log.insert(connection, row)
        return result

    try:
        result = await database.write(write)
    except (NoSuchClient, NoSuchKey) as error:
        raise ResourceNotFound(_sentence(error)) from None
    except (ClientExists, TooMuchTaken) as error:
        raise Conflict(_sentence(error)) from None
    record.written = True
    return result


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[0].upper() + text[1:]
