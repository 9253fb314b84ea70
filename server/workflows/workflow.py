"""A workflow: what a client may ask for, and how a request for it becomes a job.

A workflow checks a spec, resolves it to a plan, and delivers the images of a job that went well. Every request goes through
`accept`.
"""

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from pipelines import protocol
from pipelines.colors import parse_color
from pipelines.lora import Lora
from server import metrics
from server.disk_room import DiskRoom
from server.errors import IdempotencyConflict, InsufficientBalance, Invalid, OperationDisabled, PriceTooHigh, QueueFull
from server.jobs import Generation, Job, JobType, Plan, Understood, image_path
from server.ledger import credits, jobs
from server.ledger.artifacts import ArtifactKind
from server.ledger.catalog import EntryType, NewImage, Result
from server.ledger.clients import Caller
from server.ledger.database import Database
from server.ledger.request_log import RequestRow
from server.models_file import Models
from server.scheduler.scheduler import Scheduler
from server.validation import Problem, check
from server.workflows.prices import price_of_job
from server.workflows.prompts import Prompt
from server.workflows.spec import GenerationSpec, common_problems, tier_of, trimmed

#: Seeds that the server draws stay below this, so that people can read them aloud.
DRAWN_SEEDS = 2**32
IDEMPOTENCY_HEADER = "Idempotency-Key"

Spec = TypeVar("Spec", bound=GenerationSpec)
#: A spec's values and the models to what is wrong with the fields that are the workflow's own.
OwnProblems = Callable[[dict[str, Any], Models], list[Problem]]


class Workflow(msgspec.Struct, Generic[Spec], frozen=True, kw_only=True):
    """One row of the registry."""

    job_type: JobType
    op_class: str
    #: The name of the operation in the OpenAPI document, and its summary.
    operation_id: str
    summary: str
    spec: type[Spec]
    own_problems: OwnProblems
    resolve: Callable[[Spec, Models], Plan]
    #: What a transaction of such a job is called, before the job's name.
    label: str
    #: What its images are in the ledger, and the fields of a request that an entry of the catalogue shows.
    artifact_kind: ArtifactKind
    entry_type: EntryType
    entry_fields: tuple[str, ...]
    #: What the last event of a job that went well says.
    delivered: str

    def check(self, raw: Any, models: Models, others: Sequence[Problem] = ()) -> Spec:
        """Return the spec. Raises Invalid with every problem found, `others` of the same request included."""
        values, problems = check(raw, self.spec)
        for name in trimmed(self.spec):
            if isinstance(values.get(name), str):
                values[name] = values[name].strip()
        if isinstance(raw, dict):
            problems += self.own_problems(values, models)
            problems += common_problems(values, raw, models)
        if problems or others:
            located = [msgspec.structs.replace(problem, loc=("body", *problem.loc)) for problem in problems]
            raise Invalid([*others, *located])
        return self.spec(**values)

    def deliver(self, job: Job, images: Sequence[protocol.Generated]) -> Result:
        """Return what to keep of the images of a job, which come in the order of its generations."""
        kept = [
            NewImage(
                path=image_path(job.job_id, index, len(images)),
                kind=self.artifact_kind,
                label=job.plan.display_name,
                meta=_meta(job, image),
                entry_type=self.entry_type,
                spec={"display_name": job.plan.display_name, **{name: job.request[name] for name in self.entry_fields}},
                description=_description(job, image),
            )
            for index, image in enumerate(images)
        ]
        return Result(kept, self.delivered)


def plan(
    spec: GenerationSpec,
    models: Models,
    job_type: JobType,
    prompt: Prompt,
    loras: tuple[Lora, ...],
    display_name: str,
    count: int = 1,
) -> Plan:
    """Return the plan for `count` images of a checked spec; image i has the seed of the first plus i."""
    operation = models.operations[job_type]
    card = models.enabled[spec.image_model or models.default_model]
    size = card.size(tier_of(spec, card), spec.aspect_ratio or "1:1")
    first = random.randrange(DRAWN_SEEDS) if spec.seed is None else spec.seed  # noqa: S311  not a secret
    generations = tuple(
        Generation(
            model=card.name,
            width=size.width,
            height=size.height,
            steps=card.sampling.steps,
            guidance=card.sampling.guidance,
            # The range of seeds is a ring.
            seed=(first + index) % 2**53,
            prompt=prompt.text,
            negative_prompt=prompt.negative,
            brand_words=prompt.brand_words,
            colors=tuple(parse_color(color) for color in spec.dominant_colors),
            palette=spec.palette or card.sampling.palette,
            loras=loras,
            second=size.second,
        )
        for index in range(count)
    )
    return Plan(
        generations=generations,
        evaluate=operation.eval_enabled if spec.eval_enabled is None else spec.eval_enabled,
        on_technical_failure=spec.on_technical_failure or operation.on_technical_failure,
        max_attempts=operation.max_attempts,
        display_name=display_name,
        understood=prompt.understood,
    )


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a workflow."""

    caller: Caller
    #: Path and body, as they were sent: what an idempotency key stands for.
    path: str
    body: bytes
    #: The decoded body.
    raw: Any
    idempotency_key: str | None
    #: The request waits for the images, and nobody wants them if its client goes away.
    awaited: bool = False
    #: The most it may cost; None if any price will do.
    most_credits: int | None
    #: Makes the row of the request log, as the request stands.
    row: Callable[[], RequestRow]


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request would cost, and when its images could be there. The wait is a guess from the last images."""

    credits_cost: int
    balance: int
    queue_position: int
    estimated_seconds: float
    #: Absent if the model has no closed vocabulary.
    understood: Understood | None = None


async def accept(
    workflow: Workflow[Any],
    submission: Submission,
    models: Models,
    database: Database,
    scheduler: Scheduler,
    disk: DiskRoom,
) -> tuple[jobs.Accepted, Job | None]:
    """Make a job of a request: all or nothing, and durable when this returns. The job is None if the request was repeated.

    The first answer to an idempotency key holds whatever the operator has changed since. Raises ApiError.
    """
    began = time.perf_counter()
    client_id = submission.caller.client_id
    idempotency, problems = _idempotency(submission)
    if idempotency is not None:
        try:
            earlier = database.look_up(lambda connection: jobs.repeated(connection, client_id, idempotency))
        except jobs.KeyUsed:
            raise _conflict(idempotency.key) from None
        if earlier is not None:
            return earlier, None
    spec, resolved, cost = _prepare(workflow, submission, models, problems)
    disk.check()
    new = jobs.NewJob(
        client_id=client_id,
        job_type=workflow.job_type,
        request=msgspec.to_builtins(spec),
        plan=resolved,
        credits_cost=cost,
        label=f"{workflow.label}: {resolved.display_name}",
        priority=submission.caller.priority,
        awaited=submission.awaited,
        test=submission.caller.test,
    )
    images = len(resolved.generations)
    if not scheduler.reserve(images):
        raise _queue_full(scheduler, images)
    try:
        row = submission.row()
        accepted, job = await scheduler.dispatch(lambda connection: jobs.accept(connection, new, row, idempotency))
    except jobs.BalanceTooLow as error:
        raise _too_expensive(error.cost, error.balance) from None
    except jobs.KeyUsed:
        raise _conflict(idempotency.key if idempotency else "") from None
    finally:
        scheduler.release(images)
    if job is not None:
        metrics.dispatch_seconds.observe(time.perf_counter() - began)
        metrics.jobs_accepted.inc()
        metrics.credits_charged.inc(cost)
    return accepted, job


async def estimate(
    workflow: Workflow[Any],
    submission: Submission,
    models: Models,
    database: Database,
    scheduler: Scheduler,
    disk: DiskRoom,
) -> Estimate:
    """Check a request as `accept` does, and make nothing. Raises ApiError."""
    client_id = submission.caller.client_id
    _, problems = _idempotency(submission)
    _, resolved, cost = _prepare(workflow, submission, models, problems)
    disk.check()
    balance = database.look_up(lambda connection: credits.balance(connection, client_id))
    if balance < cost:
        raise _too_expensive(cost, balance)
    images = len(resolved.generations)
    if not scheduler.has_room(images):
        raise _queue_full(scheduler, images)
    position, seconds = scheduler.estimate(client_id, submission.caller.priority, images)
    return Estimate(cost, balance, position, seconds, resolved.understood)


def _prepare(
    workflow: Workflow[Any], submission: Submission, models: Models, problems: list[Problem]
) -> tuple[GenerationSpec, Plan, int]:
    """Return the checked spec, its plan and its price, all under one snapshot of models.toml."""
    operation = models.operations[workflow.job_type]
    if not operation.enabled:
        raise OperationDisabled(f"{workflow.job_type.operation} is switched off by the operator")
    spec = workflow.check(submission.raw, models, problems)
    resolved = workflow.resolve(spec, models)
    tier = tier_of(spec, models.enabled[resolved.model])
    cost = price_of_job(operation, resolved.model, tier, len(resolved.generations))
    if submission.most_credits is not None and cost > submission.most_credits:
        raise PriceTooHigh(cost, submission.most_credits)
    return spec, resolved, cost


def _idempotency(submission: Submission) -> tuple[jobs.Idempotency | None, list[Problem]]:
    """Return the key with the body's hash, and what is wrong with the key."""
    key = submission.idempotency_key
    if key is None:
        return None, []
    if not 1 <= len(key) <= 255 or not all("!" <= character <= "~" for character in key):
        return None, [Problem(("header", IDEMPOTENCY_HEADER), "value_error", "It takes 1–255 visible ASCII characters")]
    return jobs.Idempotency(key, submission.path, hashlib.sha256(submission.body).digest()), []


def _conflict(key: str) -> IdempotencyConflict:
    return IdempotencyConflict(
        f"{IDEMPOTENCY_HEADER} {key!r} was used for another request in the last 24 hours; send a new key with a new request"
    )


def _too_expensive(cost: int, balance: int) -> InsufficientBalance:
    return InsufficientBalance(f"This costs {cost} credits and the balance is {balance}; ask the operator for more")


def _queue_full(scheduler: Scheduler, images: int) -> QueueFull:
    message = (
        f"{scheduler.backlog} images are waiting, and the queue takes {scheduler.queue_limit}: there is no room for {images}"
        " more; nothing was charged"
    )
    return QueueFull(message, scheduler.retry_after)


def _meta(job: Job, image: protocol.Generated) -> dict[str, Any]:
    meta: dict[str, Any] = msgspec.to_builtins(image.recipe)
    meta |= {"model_revision": image.recipe.revision, "timings": image.timings, "attempts": job.attempts}
    meta["palette"] = image.recipe.palette
    del meta["revision"]
    if job.plan.understood is not None:
        meta["understood"] = msgspec.to_builtins(job.plan.understood)
    if image.prompt_cut:
        meta["prompt_cut"] = image.prompt_cut
    if image.evaluation is not None:
        meta["eval"] = msgspec.to_builtins(image.evaluation)
    if image.defect is not None:
        meta["technical_failure"] = image.defect
    return meta


def _description(job: Job, image: protocol.Generated) -> str:
    recipe = image.recipe
    return f"{job.plan.display_name}, {recipe.width} × {recipe.height}, by {recipe.model}, seed {recipe.seed}"
