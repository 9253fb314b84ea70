"""`POST /v1/background-generator`: a spec in, 202 and a job out."""

import hashlib
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import HeaderParameter

from server import metrics
from server.api.auth import can_create
from server.api.errors import IdempotencyConflict, InsufficientBalance, OperationDisabled, QueueFull
from server.api.openapi import errors
from server.api.request_log import record_of
from server.jobs import BACKGROUND_GENERATOR
from server.ledger import jobs
from server.ledger.accounts import Caller
from server.ledger.database import Database
from server.models_file import Models
from server.scheduler.scheduler import Scheduler
from server.validation import Problem
from server.workflows.background import BackgroundSpec, check_spec, decode_body, resolve

IDEMPOTENCY_HEADER = "Idempotency-Key"


async def check_request(request: Request[Caller, Any, Any]) -> Response[jobs.Accepted] | None:
    """Runs before Litestar decodes the body, which would stop at the first error. Answers a repeated request itself."""
    state = request.app.state
    models: Models = state.models_file.current
    if not models.operations.background_generator.enabled:
        raise OperationDisabled("background-generator is switched off by the operator")
    body = await request.body()
    raw = decode_body(body)
    idempotency, problems = _idempotency(request, body)
    if idempotency is not None:
        database: Database = state.database
        client_id = request.user.client_id
        try:
            earlier = database.look_up(lambda connection: jobs.repeated(connection, client_id, idempotency))
        except jobs.BodyDiffers:
            raise _conflict(idempotency) from None
        if earlier is not None:
            record_of(request.scope).job_id = earlier.job_id
            return Response(earlier, status_code=202)
    check_spec(raw, models, problems)
    return None


@post(
    "/background-generator",
    status_code=202,
    guards=[can_create],
    before_request=check_request,
    responses=errors(402, 409, 413, 422, 503),
    summary="Generate a catalogue background",
    tags=["workflows"],
)
async def generate_background(
    request: Request[Caller, Any, Any],
    data: BackgroundSpec,
    scheduler: NamedDependency[Scheduler],
    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name=IDEMPOTENCY_HEADER,
            max_length=255,
            min_length=1,
            pattern="^[!-~]+$",
            description="Within 24 hours the same key and body answer with the first response and charge once",
        ),
    ] = None,
) -> jobs.Accepted:
    """Takes the price, logs the request and makes the job in one durable transaction; a 202 means it is on disk."""
    models = scheduler.models
    price = models.operations.background_generator.credits_cost
    work = resolve(data, models)
    idempotency, _ = _idempotency(request, await request.body())
    new = jobs.NewJob(
        client_id=request.user.client_id,
        job_type=BACKGROUND_GENERATOR,
        request=msgspec.to_builtins(data),
        work=work,
        credits_cost=price,
        label=f"Background generator: {work.display_name}",
        priority=request.user.priority,
    )
    record = record_of(request.scope)
    if not scheduler.reserve():
        message = f"{scheduler.backlog} jobs are waiting, which is all the queue takes; nothing was charged"
        raise QueueFull(message, scheduler.retry_after)
    try:
        row = record.row()
        accepted, job = await scheduler.dispatch(lambda c: jobs.dispatch(c, new, row, idempotency))
    except jobs.BalanceTooLow as error:
        raise InsufficientBalance(
            f"This costs {error.cost} credits and the balance is {error.balance}; ask the operator for more"
        ) from None
    except jobs.BodyDiffers:
        raise _conflict(idempotency) from None
    finally:
        scheduler.release()
    record.job_id = accepted.job_id
    if job is None:
        return accepted
    record.written = True
    metrics.jobs_accepted.inc()
    metrics.credits_charged.inc(price)
    return accepted


def _idempotency(request: Request[Caller, Any, Any], body: bytes) -> tuple[jobs.Idempotency | None, list[Problem]]:
    """The key and the body's hash, or what is wrong with the key."""
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is None:
        return None, []
    if not 1 <= len(key) <= 255 or not all("!" <= character <= "~" for character in key):
        return None, [Problem(("header", IDEMPOTENCY_HEADER), "value_error", "It takes 1–255 visible ASCII characters")]
    return jobs.Idempotency(key, hashlib.sha256(body).digest()), []


def _conflict(idempotency: jobs.Idempotency | None) -> IdempotencyConflict:
    key = idempotency.key if idempotency else ""
    return IdempotencyConflict(
        f"{IDEMPOTENCY_HEADER} {key!r} was used with another body in the last 24 hours; send a new key with a new body"
    )
