"""`POST /v1/{workflow}`: a spec in, 202 and a job out. Each row of the registry gets its route here."""

from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, HeaderParameter, QueryParameter

from server.api.bodies import decode_body
from server.api.job_reader import JobReader
from server.api.openapi import answer, errors
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
            200: answer(Estimate, "The answer to a dry run"),
            202: answer(Accepted, "The job is on disk, and paid for"),
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
        submission = submission_of(request, path, body, decode_body(body), idempotency_key, max_credits)
        return await _answer(request, workflow, submission, intake, dry_run)

    return generate


@post(
    "/jobs/{public_id:str}/retry",
    status_code=202,
    summary="Try a failed job again",
    tags=["jobs"],
    responses={
        **errors(402, 404, 409, 422, 503),
        200: answer(Estimate, "The answer to a dry run"),
        202: answer(Accepted, "The new job is on disk, and paid for"),
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
    path = f"/v1/jobs/{public_id}/retry"
    submission = submission_of(request, path, b"", failed.request, idempotency_key, max_credits)
    workflow = WORKFLOWS[failed.summary.job_type]
    return await _answer(request, workflow, submission, intake, dry_run)


def submission_of(
    request: Request[Caller, Any, Any],
    path: str,
    body: bytes,
    raw: Any,
    idempotency_key: str | None,
    max_credits: str | None,
    *,
    awaited: bool = False,
) -> Submission:
    """Return what a request for a workflow asks the intake for; `raw` is its spec, not checked yet."""
    return Submission(
        caller=request.user,
        path=path,
        body=body,
        raw=raw,
        idempotency_key=idempotency_key,
        most_credits=None if max_credits is None else int(max_credits),
        awaited=awaited,
        row=record_of(request.scope).row,
    )


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
