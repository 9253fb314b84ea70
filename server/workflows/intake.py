"""The intake: how a request for a workflow becomes a job."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

import msgspec
from ulid import ULID

from server import metrics
from server.disk_room import DiskRoom
from server.errors import IdempotencyConflict, InsufficientBalance, OperationDisabled, PriceTooHigh
from server.jobs import Job, Plan, Understood
from server.ledger import credits, jobs
from server.ledger.clients import Caller
from server.ledger.database import Database
from server.ledger.idempotency import Idempotency, KeyUsed
from server.ledger.request_log import RequestRow
from server.models_watch import ModelsFile
from server.scheduler.scheduler import Scheduler
from server.validation import Problem
from server.workflows.prices import price_of_job
from server.workflows.spec import GenerationSpec, tier_of
from server.workflows.workflow import Workflow

IDEMPOTENCY_HEADER = "Idempotency-Key"


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a workflow."""

    caller: Caller
    #: Path and body, as they were sent: what an idempotency key stands for.
    path: str
    body: bytes
    #: The decoded body.
    raw: Any
    idempotency_key: str | None
    #: Whether the request waits for the images; if its client goes away, nobody wants them.
    awaited: bool = False
    #: The most it may cost; None if any price will do.
    most_credits: int | None
    #: Makes the request's row of the request log, from what is known so far.
    row: Callable[[], RequestRow]


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """The price of a request, and the time until its images could be there. The wait is a guess from the last images."""

    credits_cost: int
    balance: int
    queue_position: int
    estimated_seconds: float
    #: Absent if the model has no closed vocabulary.
    understood: Understood | None = None


class Intake:
    """Checks requests for workflows, prices them, and makes jobs of them."""

    def __init__(self, models: ModelsFile, database: Database, scheduler: Scheduler, disk: DiskRoom) -> None:
        self._models = models
        self._database = database
        self._scheduler = scheduler
        self._disk = disk

    async def accept(self, workflow: Workflow[Any], submission: Submission) -> tuple[jobs.Accepted, bool]:
        """Make a job of a request: all or nothing, and durable when this returns.

        Return the answer, and whether a job was made. A repeated request makes none: the first answer to an
        idempotency key holds whatever the operator has changed since. Raises ApiError.
        """
        began = time.perf_counter()
        client_id = submission.caller.client_id
        idempotency, problems = idempotency_of(submission.idempotency_key, submission.path, submission.body)
        if idempotency is not None:
            try:
                earlier = self._database.look_up(jobs.repeated, client_id, idempotency)
            except KeyUsed as error:
                raise IdempotencyConflict(str(error)) from None
            if earlier is not None:
                return earlier, False
        spec, plan, cost = self._prepare(workflow, submission, problems)
        job = Job(
            job_id=str(ULID()),
            client_id=client_id,
            job_type=workflow.job_type,
            request=msgspec.to_builtins(spec),
            plan=plan,
            credits_cost=cost,
            priority=submission.caller.priority,
            awaited=submission.awaited,
            test=submission.caller.test,
        )
        label = f"{workflow.label}: {plan.display_name}"
        try:
            answer, is_made = await self._scheduler.add(job, label, submission.row(), idempotency)
        except jobs.BalanceTooLow as error:
            raise _too_expensive(error.cost, error.balance) from None
        except KeyUsed as error:
            raise IdempotencyConflict(str(error)) from None
        if is_made:
            metrics.dispatch_seconds.observe(time.perf_counter() - began)
            metrics.jobs_accepted.inc()
            metrics.credits_charged.inc(cost)
        return answer, is_made

    def estimate(self, workflow: Workflow[Any], submission: Submission) -> Estimate:
        """Check a request as `accept` does, and make nothing. Raises ApiError."""
        client_id = submission.caller.client_id
        _, problems = idempotency_of(submission.idempotency_key, submission.path, submission.body)
        _, plan, cost = self._prepare(workflow, submission, problems)
        balance = self._database.look_up(credits.balance, client_id)
        if balance < cost:
            raise _too_expensive(cost, balance)
        self._scheduler.check_room(client_id, len(plan.generations))
        position, seconds = self._scheduler.estimate(client_id, submission.caller.priority, plan.generations)
        return Estimate(cost, balance, position, seconds, plan.understood)

    def _prepare(
        self, workflow: Workflow[Any], submission: Submission, problems: list[Problem]
    ) -> tuple[GenerationSpec, Plan, int]:
        """Return the checked spec, its plan and its price, all under one snapshot of models.toml."""
        models = self._models.current
        operation = models.operations[workflow.job_type]
        if not operation.enabled:
            raise OperationDisabled(f"{workflow.job_type.operation} is switched off; ask the operator to switch it on")
        spec = workflow.check(submission.raw, models, problems)
        plan = workflow.resolve(spec, models)
        tier = tier_of(spec, models.enabled[plan.model])
        cost = price_of_job(operation, plan.model, tier, len(plan.generations))
        if submission.most_credits is not None and cost > submission.most_credits:
            raise PriceTooHigh(cost, submission.most_credits)
        self._disk.check()
        return spec, plan, cost


def idempotency_of(key: str | None, path: str, body: bytes) -> tuple[Idempotency | None, list[Problem]]:
    """Return a request's key with what it stands for, and what is wrong with the key."""
    if key is None:
        return None, []
    if not 1 <= len(key) <= 255 or not all("!" <= character <= "~" for character in key):
        return None, [Problem(("header", IDEMPOTENCY_HEADER), "value_error", "It takes 1–255 visible ASCII characters")]
    return Idempotency(key, path, hashlib.sha256(body).digest()), []


def _too_expensive(cost: int, balance: int) -> InsufficientBalance:
    return InsufficientBalance(f"This costs {cost} credits and the balance is {balance}; ask the operator for more")
