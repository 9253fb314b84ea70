"""`POST /v1/{workflow}`: a spec in, 202 and a job out. Each row of the registry gets its route here."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter

from server.api.openapi import errors
from server.api.request_log import record_of
from server.errors import Invalid
from server.ledger.clients import Caller
from server.ledger.database import Database
from server.ledger.jobs import Accepted
from server.models_file import Models
from server.scheduler.scheduler import Scheduler
from server.validation import Problem
from server.workflows import workflow as workflows
from server.workflows.registry import WORKFLOWS
from server.workflows.workflow import IDEMPOTENCY_HEADER, Estimate, Submission, Workflow

IDEMPOTENCY_KEY = Annotated[
    str | None,
    HeaderParameter(
        name=IDEMPOTENCY_HEADER,
        description="1–255 visible ASCII characters. Within 24 hours the same key and body answer with the first response"
        " and charge once",
    ),
]


MAX_CREDITS = Annotated[
    int | None,
    HeaderParameter(
        name="Max-Credits",
        ge=0,
        le=2**53 - 1,
        description="The most the client will pay, such as the price that it has shown; a higher one is 409 PRICE_TOO_HIGH",
    ),
]


def decode_body(body: bytes) -> Any:
    """Return the body's JSON. Raises Invalid of kind `json_invalid`."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Invalid([Problem(("body",), "json_invalid", f"The body is not JSON: {detail}")]) from None


def route(workflow: Workflow[Any]) -> HTTPRouteHandler:
    """Return the route of a workflow. The spec is decoded by the workflow alone, so it is no parameter of the handler."""

    @post(
        f"/{workflow.job_type.operation}",
        status_code=202,
        operation_id=workflow.operation_id,
        summary=workflow.summary,
        tags=["workflows"],
        responses={
            **errors(402, 409, 413, 422, 503),
            200: ResponseSpec(Estimate, generate_examples=False, description="The answer to a dry run"),
            202: ResponseSpec(Accepted, generate_examples=False, description="The job is on disk, and paid for"),
        },
    )
    async def generate(
        request: Request[Caller, Any, Any],
        models: NamedDependency[Models],
        database: NamedDependency[Database],
        scheduler: NamedDependency[Scheduler],
        dry_run: Annotated[
            bool, QueryParameter(description="Check the request and say what it would cost; make and take nothing")
        ] = False,
        idempotency_key: IDEMPOTENCY_KEY = None,
        max_credits: MAX_CREDITS = None,
    ) -> Response[Any]:
        """Take the price, log the request and make the job in one durable transaction; a 202 means it is on disk."""
        body = await request.body()
        record = record_of(request.scope)
        submission = Submission(
            caller=request.user,
            body=body,
            raw=decode_body(body),
            idempotency_key=idempotency_key,
            most_credits=max_credits,
            row=record.row,
        )
        if dry_run:
            found = await workflows.estimate(workflow, submission, models, database, scheduler)
            return Response(found, status_code=200)
        accepted, job = await workflows.accept(workflow, submission, models, database, scheduler)
        record.job_id = accepted.job_id
        # The job's transaction wrote the row of the request log too.
        record.written = job is not None
        return Response(accepted, status_code=202)

    return generate


ROUTES = [route(workflow) for workflow in WORKFLOWS.values()]
