"""A change that an operator makes over HTTP, and its row in the request log, in one transaction."""

from sqlite3 import Connection
from typing import Any, ParamSpec, TypeVar

from litestar import Request

from server.api.request_log import record_of
from server.errors import Conflict, IdempotencyConflict, ResourceNotFound
from server.ledger import request_log
from server.ledger.clients import ClientExists, NoSuchClient, NoSuchKey, SeveralKeys
from server.ledger.credits import TooMuchTaken
from server.ledger.database import Database, Work
from server.ledger.idempotency import KeyUsed

T = TypeVar("T")
P = ParamSpec("P")


async def change(
    request: Request[Any, Any, Any],
    database: Database,
    work: Work[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run `work` with these arguments, and write the request's row with the status of the route's answer.

    Both happen, or neither does; they are on disk when this returns.
    Raises ResourceNotFound, Conflict or IdempotencyConflict if the ledger does not allow it.
    """
    record = record_of(request.scope)
    record.status = request.route_handler.status_code
    row = record.row()

    def write(connection: Connection) -> T:
        result = work(connection, *args, **kwargs)
        request_log.insert(connection, row)
        return result

    try:
        result = await database.write(write)
    except (NoSuchClient, NoSuchKey) as error:
        raise ResourceNotFound(sentence(error)) from None
    except KeyUsed as error:
        raise IdempotencyConflict(str(error)) from None
    except (ClientExists, SeveralKeys, TooMuchTaken) as error:
        raise Conflict(sentence(error)) from None
    record.written = True
    return result


def sentence(error: Exception | str) -> str:
    """Return an error's text with a capital first letter."""
    text = str(error)
    return text[0].upper() + text[1:]
