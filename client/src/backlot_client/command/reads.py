"""The small commands: jobs, cancel, credits, models, catalog."""

from argparse import Namespace

from backlot_client.answers import JobStatus
from backlot_client.client import Client
from backlot_client.command.output import print_json, print_line, print_table
from backlot_client.retries import Retries


def _client(arguments: Namespace) -> Client:
    return Client(arguments.url, arguments.key, retries=Retries(total_s=5))


def list_jobs(arguments: Namespace) -> int:
    status = JobStatus(arguments.status) if arguments.status else None
    with _client(arguments) as client:
        found = client.jobs(status=status, limit=arguments.limit).jobs
    if arguments.json:
        print_json(found)
    else:
        print_table(found, ["public_id", "job_type", "status", "created_at"])
    return 0


def cancel_jobs(arguments: Namespace) -> int:
    with _client(arguments) as client:
        cancelled = [client.cancel(job_id) for job_id in arguments.job_ids]
    if arguments.json:
        print_json(cancelled)
    for job in cancelled:
        if not arguments.json:
            print_line(f"{job.public_id} {job.status.value} {job.failure_reason or 'ends at its next step'}")
    return 0


def retry_jobs(arguments: Namespace) -> int:
    with _client(arguments) as client:
        accepted = [client.retry(job_id, max_credits=arguments.max_credits) for job_id in arguments.job_ids]
    if arguments.json:
        print_json(accepted)
    for job in accepted:
        if not arguments.json:
            print_line(f"{job.job_id} {job.status.value} {job.credits_cost} credits")
    return 0


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
            limit=arguments.limit,
        )
    if arguments.json:
        print_json(found)
        return 0
    for entry in found:
        print_line(f"{entry.public_id}  {entry.created_at}  {entry.status}  {entry.spec.display_name}")
    return 0
