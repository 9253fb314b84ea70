"""`POST /v1/{workflow}`: a spec in, 202 and a job out. Each row of the registry gets its route here."""

from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, QueryParameter

from server.api.bodies import decode_body
from server.api.job_reader import JobReader
from server.api.openapi import errors
from server.api.request_log import record_of
from server.errors import Invalid, JobNotRetryable
from server.jobs import JobStatus
from server.ledger.clients import Caller
from server.ledger.jobs import Accepted
from server.validation import Problem
from server.workflows.intake import IDEMPOTENCY_HEADER, Estimate, Intake, Submission
from server.workflows.registry import WORKFLOWS
from server.workflows.workflow import Workflow

IDEMPOTENCY_KEY = Annotated[
    str | None,
    HeaderParameter(
        name=IDEMPOTENCY_HEADER,
        description="1–255 visible ASCII characters. Within 24 hours the same key and body answer with the first response"
        ", and nothing is paid or granted twice",
    ),
]


DRY_RUN = Annotated[
    bool, QueryParameter(description="Check the request and say what it would cost; make and take nothing")
]
MAX_CREDITS = Annotated[
    # Clients that are generated from the OpenAPI document cannot send a number in a header.
    str | None,
    HeaderParameter(
        name="Max-Credits",
        pattern="^[0-9]{1,15}$",
        description="The most the client will pay, such as the price that it has shown; a higher one is 409 PRICE_TOO_HIGH",
    ),
]


def route(workflow: Workflow[Any]) -> HTTPRouteHandler:
    """Return the route of a workflow. Only the workflow decodes the spec, so it is no parameter of the handler."""

    path = f"/v1/{workflow.job_type.operation}"

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
        intake: NamedDependency[Intake],
        dry_run: DRY_RUN = False,
        idempotency_key: IDEMPOTENCY_KEY = None,
        max_credits: MAX_CREDITS = None,
    ) -> Response[Any]:
        """Take the price, log the request and make the job in one durable transaction; a 202 means it is on disk."""
        body = await request.body()
        submission = Submission(
            caller=request.user,
            path=path,
            body=body,
            raw=decode_body(body),
            idempotency_key=idempotency_key,
            most_credits=None if max_credits is None else int(max_credits),
            row=record_of(request.scope).row,
        )
        return await _answer(request, workflow, submission, intake, dry_run)

    return generate


@post(
    "/jobs/{public_id:str}/retry",
    status_code=202,
    summary="Try a failed job again",
    tags=["jobs"],
    responses={
        **errors(402, 404, 409, 422, 503),
        200: ResponseSpec(Estimate, generate_examples=False, description="The answer to a dry run"),
        202: ResponseSpec(Accepted, generate_examples=False, description="The new job is on disk, and paid for"),
    },
)
async def retry_job(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    reader: NamedDependency[JobReader],
    intake: NamedDependency[Intake],
    dry_run: DRY_RUN = False,
    idempotency_key: IDEMPOTENCY_KEY = None,
    max_credits: MAX_CREDITS = None,
) -> Response[Any]:
    """Make a new job of the same spec, at the present price. A spec without a seed gets another one."""
    if await request.body() not in (b"", b"{}"):
        message = "A retry takes the spec of its job and no body; for another spec send that to its workflow"
        raise Invalid([Problem(("body",), "extra_forbidden", message)])
    failed = await reader.detail(request.user, public_id)
    if failed.summary.status is not JobStatus.FAILURE:
        raise JobNotRetryable(f"Job {public_id} has not failed: its status is {failed.summary.status}")
    submission = Submission(
        caller=request.user,
        path=f"/v1/jobs/{public_id}/retry",
        body=b"",
        raw=failed.request,
        idempotency_key=idempotency_key,
        most_credits=None if max_credits is None else int(max_credits),
        row=record_of(request.scope).row,
    )
    workflow = WORKFLOWS[failed.summary.job_type]
    return await _answer(request, workflow, submission, intake, dry_run)


async def _answer(
    request: Request[Caller, Any, Any],
    workflow: Workflow[Any],
    submission: Submission,
    intake: Intake,
    dry_run: bool,
) -> Response[Any]:
    if dry_run:
        return Response(intake.estimate(workflow, submission), status_code=200)
    accepted, is_made = await intake.accept(workflow, submission)
    record = record_of(request.scope)
    record.job_id = accepted.job_id
    # The job's transaction wrote the row of the request log too.
    record.written = is_made
    return Response(accepted, status_code=202)


ROUTES = [*(route(workflow) for workflow in WORKFLOWS.values()), retry_job]
