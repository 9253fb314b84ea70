"""`/v1/admin/clients`: clients and their credits."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from server.api.admin.change import change, sentence
from server.api.bodies import read_body
from server.api.openapi import errors
from server.api.workflows import IDEMPOTENCY_KEY
from server.client_names import name_problem
from server.keys import new_client
from server.ledger import clients, credits, reports
from server.ledger.clients import Caller
from server.ledger.credits import MOST_CREDITS, Totals
from server.ledger.database import Database
from server.ledger.reports import ClientReport
from server.validation import Problem
from server.workflows.intake import idempotency_of


class ClientList(msgspec.Struct, frozen=True):
    clients: list[ClientReport]


class NewClient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: 1–200 characters without a "/".
    name: str
    #: Its first credits.
    credits: Annotated[int, Meta(ge=0, le=MOST_CREDITS)] = 0
    #: Whether to make an `sk_test_` key.
    test: bool = False


class MadeClient(msgspec.Struct, frozen=True):
    name: str
    #: Shown this once.
    key: str
    credits: int


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: Credits to give; to take back if negative.
    credits: Annotated[int, Meta(ge=-MOST_CREDITS, le=MOST_CREDITS)]
    #: Its name among the client's transactions.
    note: Annotated[str, Meta(max_length=200)] = ""


@get("/clients", responses=errors(), summary="List clients")
async def list_clients(database: NamedDependency[Database]) -> ClientList:
    return ClientList(await database.read(reports.clients))


@post("/clients", responses=errors(409, 413, 422, 503), summary="Add a client")
async def add_client(request: Request[Caller, Any, Any], database: NamedDependency[Database]) -> MadeClient:
    """Make a client and its first key."""
    new = await read_body(request, NewClient, _name_problems)
    key = await change(request, database, new_client, new.name, new.credits, test=new.test)
    return MadeClient(new.name, key, new.credits)


def _name_problems(values: dict[str, Any]) -> list[Problem]:
    problem = name_problem(values["name"]) if "name" in values else None
    return [] if problem is None else [Problem(("name",), "value_error", sentence(problem), values["name"])]


@post(
    "/clients/{name:str}/grants",
    responses=errors(404, 409, 413, 422, 503),
    summary="Give a client credits, or take some back",
)
async def grant_credits(
    request: Request[Caller, Any, Any],
    name: FromPath[str],
    database: NamedDependency[Database],
    idempotency_key: IDEMPOTENCY_KEY = None,
) -> Totals:
    """Return the client's balance after the grant. To take back more than it has is a 409."""
    path, body = f"/v1/admin/clients/{name}/grants", await request.body()
    idempotency, problems = idempotency_of(idempotency_key, path, body)
    grant = await read_body(request, Grant, _grant_problems, problems)

    def work(connection: Any) -> Totals:
        client = clients.named(connection, name)
        note, asker = grant.note.strip(), request.user.client_id
        return credits.grant_once(connection, client.id, grant.credits, note, asker, idempotency)

    return await change(request, database, work)


def _grant_problems(values: dict[str, Any]) -> list[Problem]:
    if values.get("credits") != 0:
        return []
    return [Problem(("credits",), "value_error", "Give at least 1 credit, or take at least 1 back")]


@post("/clients/{name:str}/disable", status_code=200, responses=errors(404, 503), summary="Disable a client")
async def disable_client(
    request: Request[Caller, Any, Any], name: FromPath[str], database: NamedDependency[Database]
) -> ClientReport:
    """Refuse all keys of a client until it is enabled. Its jobs go on, and its credits stay."""
    return await _set_disabled(request, name, database, disabled=True)


@post("/clients/{name:str}/enable", status_code=200, responses=errors(404, 503), summary="Enable a client")
async def enable_client(
    request: Request[Caller, Any, Any], name: FromPath[str], database: NamedDependency[Database]
) -> ClientReport:
    return await _set_disabled(request, name, database, disabled=False)


async def _set_disabled(
    request: Request[Caller, Any, Any], name: str, database: Database, *, disabled: bool
) -> ClientReport:
    def work(connection: Any) -> ClientReport:
        clients.set_disabled(connection, clients.named(connection, name).id, disabled=disabled)
        return next(report for report in reports.clients(connection) if report.name == name)

    return await change(request, database, work)
