"""The small commands: jobs, cancel, retry, credits, models, catalog."""

from argparse import Namespace
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from backlot_client.answers import Accepted, Job, JobStatus
from backlot_client.client import Client
from backlot_client.command.output import Failure, failure_of, print_json, print_line, print_remark, print_table
from backlot_client.errors import BacklotError
from backlot_client.retries import Retries

T = TypeVar("T")


def _client(arguments: Namespace) -> Client:
    return Client(arguments.url, arguments.key, retries=Retries(total_s=5))


def list_jobs(arguments: Namespace) -> int:
    status = JobStatus(arguments.status) if arguments.status else None
    with _client(arguments) as client:
        found = client.jobs(status=status, metadata=dict(arguments.metadata), limit=arguments.limit).jobs
    if arguments.json:
        print_json(found)
    else:
        print_table(found, ["public_id", "job_type", "status", "created_at"])
    return 0


def cancel_jobs(arguments: Namespace) -> int:
    def line(job: Job) -> str:
        return f"{job.public_id} {job.status.value} {job.failure_reason or 'ends at its next step'}"

    return _for_each_job(arguments, lambda client, job_id: client.cancel(job_id), line)


def retry_jobs(arguments: Namespace) -> int:
    def retry(client: Client, job_id: str) -> Accepted:
        # If the command is run again because one job was refused, this key prevents second jobs of the others.
        key = f"retry-{quote(job_id, safe='')}"
        return client.retry(job_id, idempotency_key=key, max_credits=arguments.max_credits)

    def line(accepted: Accepted) -> str:
        return f"{accepted.job_id} {accepted.status.value} {accepted.credits_cost} credits"

    return _for_each_job(arguments, retry, line)


def _for_each_job(arguments: Namespace, act: Callable[[Client, str], T], line: Callable[[T], str]) -> int:
    """Act on each job and print each answer as it comes; a refusal of one stops no other. Return the exit status.

    JSON is printed at the end, as one list with an element for each job, in their order.
    """
    answers: list[T | dict[str, Failure]] = []
    status = 0
    with _client(arguments) as client:
        for job_id in arguments.job_ids:
            try:
                answer = act(client, job_id)
            except BacklotError as error:
                status = 1
                answers.append({"error": failure_of(error)})
                if not arguments.json:
                    print_remark(f"{job_id}: {error}")
            else:
                answers.append(answer)
                if not arguments.json:
                    print_line(line(answer))
    if arguments.json:
        print_json(answers)
    return status


def show_credits(arguments: Namespace) -> int:
    with _client(arguments) as client:
        found = client.credits()
    if arguments.json:
        print_json(found)
    else:
        print_line(f"{found.balance} (granted {found.granted}, spent {found.spent}, refunded {found.refunded})")
    return 0


def list_models(arguments: Namespace) -> int:
    with _client(arguments) as client:
        found = client.models()
    if arguments.json:
        print_json(found)
    else:
        print_table(found, ["name", "default", "tiers", "steps", "loaded", "licence"])
    return 0


def list_backgrounds(arguments: Namespace) -> int:
    with _client(arguments) as client:
        found = client.backgrounds(
            scene_type=arguments.scene_type,
            status=arguments.status,
            favourite=arguments.favourite,
            query=arguments.query,
            model=arguments.image_model,
            metadata=dict(arguments.metadata),
            limit=arguments.limit,
        )
    if arguments.json:
        print_json(found)
        return 0
    for entry in found:
        print_line(f"{entry.public_id}  {entry.created_at}  {entry.status}  {entry.spec.display_name}")
    return 0
