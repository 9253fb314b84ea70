"""`/v1/admin/usage`, `/requests` and `/failures`: what clients used, what they asked, and what went wrong."""

import asyncio
from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from server.api.admin.change import sentence
from server.api.billing import Since, Until
from server.api.jobs import Limit, Offset
from server.api.openapi import errors
from server.clock import span
from server.errors import Invalid, ResourceNotFound
from server.ledger import job_reports, reports
from server.ledger.clients import NoSuchClient
from server.ledger.database import Database
from server.ledger.job_reports import JobReport
from server.ledger.reports import RequestReport
from server.ledger.usage import UsageBy, UsageRow, usage_by
from server.log_lines import LogLine, lines_about
from server.settings import Settings
from server.validation import Problem


class UsageSums(msgspec.Struct, frozen=True):
    by: list[UsageBy]
    rows: list[UsageRow]


class RequestPage(msgspec.Struct, frozen=True):
    requests: list[RequestReport]
    limit: int
    offset: int


class Failure(msgspec.Struct, frozen=True):
    job: JobReport
    #: Lines of the logs that name it, and warnings written while it ran; oldest first.
    log: list[LogLine]


class FailureList(msgspec.Struct, frozen=True):
    failures: list[Failure]


@get("/usage", responses=errors(422), summary="Sum up usage")
async def sum_up_usage(
    database: NamedDependency[Database],
    by: Annotated[str, QueryParameter(description="Any of client, day and model, between commas")] = "client,day",
    since: Since = None,
    until: Until = None,
) -> UsageSums:
    """Sum up the jobs that were accepted in this time, separately for each client, day or model."""
    words = [word.strip() for word in by.split(",") if word.strip()]
    unknown = [word for word in words if word not in set(UsageBy)]
    if unknown:
        message = f"{unknown[0][:40]!r} is not one of {', '.join(UsageBy)}"
        raise Invalid([Problem(("query", "by"), "enum", message)])
    apart = {UsageBy(word) for word in words}
    rows = await database.read(usage_by, apart, *span(since, until))
    return UsageSums([kind for kind in UsageBy if kind in apart], rows)


@get("/requests", responses=errors(404, 422), summary="Read the request log")
async def list_requests(
    database: NamedDependency[Database],
    client: Annotated[str | None, QueryParameter(description="Only this client's, by name")] = None,
    failed: Annotated[
        bool, QueryParameter(description="Only those with status 400 and above, and those whose job failed")
    ] = False,
    limit: Limit = 50,
    offset: Offset = 0,
) -> RequestPage:
    """List the requests of all clients, newest first, with the key each came with."""
    try:
        rows = await database.read(reports.requests, client, only_failed=failed, limit=limit, offset=offset)
    except NoSuchClient as error:
        raise ResourceNotFound(sentence(error)) from None
    return RequestPage(rows, limit, offset)


@get("/failures", responses=errors(422), summary="Read recent failures")
async def list_failures(
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    limit: Annotated[int, QueryParameter(ge=1, le=50, description="How many at most, 1–50")] = 20,
) -> FailureList:
    """List the jobs that failed last, each with what the logs say of it. A cancelled job is no failure."""
    failed = await database.read(job_reports.failures, limit)
    logs = await asyncio.to_thread(lines_about, settings.logs, failed)
    return FailureList([Failure(job, lines) for job, lines in zip(failed, logs, strict=True)])
