"""Prices, credits, transactions, usage."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Router, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from server.api.jobs import Limit, Offset
from server.api.openapi import errors
from server.clock import span
from server.jobs import JobType
from server.ledger import credits, reports
from server.ledger.clients import Caller
from server.ledger.credits import Totals, Transaction, TransactionFilter
from server.ledger.database import Database
from server.ledger.reports import Usage
from server.models_file import Models
from server.workflows.prices import price_of_image
from server.workflows.registry import WORKFLOWS

Since = Annotated[datetime | None, QueryParameter(description="Inclusive; default: from the beginning")]
Until = Annotated[datetime | None, QueryParameter(description="Exclusive; default: to the end")]


class ImagePrice(msgspec.Struct, frozen=True):
    """The price of one image of a model at a tier."""

    model: str
    resolution: str
    credits_cost: int


class OperationPrice(msgspec.Struct, frozen=True):
    """The price of an operation: for each image `credits_cost` × the model's factor × the tier's, rounded with halves up."""

    name: str
    op_class: str
    credits_cost: int
    enabled: bool
    #: Factors by name; 1 for those that are not here.
    model_factors: dict[str, float]
    tier_factors: dict[str, float]
    #: The resulting price for each model and tier that a client may name.
    prices: list[ImagePrice]


class Operations(msgspec.Struct, frozen=True):
    operations: list[OperationPrice]


class TransactionPage(msgspec.Struct, frozen=True):
    items: list[Transaction]
    total: int
    limit: int
    offset: int


@get("/operations", responses=errors(), summary="List operations and prices")
async def list_operations(models: NamedDependency[Models]) -> Operations:
    return Operations([_price(job_type, models) for job_type in JobType])


def _price(job_type: JobType, models: Models) -> OperationPrice:
    operation = models.operations[job_type]
    enabled = models.enabled
    return OperationPrice(
        name=job_type.operation,
        op_class=WORKFLOWS[job_type].op_class,
        credits_cost=operation.credits_cost,
        enabled=operation.enabled,
        model_factors={name: factor for name, factor in operation.model_factors.items() if name in enabled},
        tier_factors={str(tier): factor for tier, factor in operation.tier_factors.items()},
        prices=[
            ImagePrice(name, tier, price_of_image(operation, name, tier))
            for name, card in enabled.items()
            for tier in card.tiers
        ],
    )


@get("/credits", responses=errors(), summary="Read the balance")
async def read_credits(request: Request[Caller, Any, Any], database: NamedDependency[Database]) -> Totals:
    return await database.read(credits.totals, request.user.client_id)


@get("/transactions", responses=errors(422), summary="List transactions")
async def list_transactions(
    request: Request[Caller, Any, Any],
    database: NamedDependency[Database],
    kind: Annotated[TransactionFilter | None, QueryParameter()] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> TransactionPage:
    """List the charges and grants, newest first: one item per operation, with its delta net of the refund."""
    items, total = await database.read(credits.transactions, request.user.client_id, kind, limit, offset)
    return TransactionPage(items, total, limit, offset)


@get("/usage", responses=errors(422), summary="Sum up usage")
async def read_usage(
    request: Request[Caller, Any, Any],
    database: NamedDependency[Database],
    since: Since = None,
    until: Until = None,
) -> Usage:
    """Sum up the request log; credits are net of refunds."""
    return await database.read(reports.usage, request.user.client_id, *span(since, until))


ROUTER = Router("/", tags=["billing"], route_handlers=[list_operations, read_credits, list_transactions, read_usage])
