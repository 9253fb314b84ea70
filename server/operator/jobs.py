"""`backlot jobs`: the jobs of all clients."""

import re
import time
from pathlib import Path

import click
import msgspec

from pipelines.failure_reason import FailureReason
from server.data_folder import AlreadyRunning, hold
from server.jobs import JobStatus
from server.ledger import artifacts, clients, job_reports, queue_control
from server.ledger import jobs as ledger
from server.ledger.job_reports import JobReport, WholeJob
from server.operator.arguments import client_name, limit_option, ulid
from server.operator.errors import CommandError
from server.operator.ledger import reading, writing, writing_quietly
from server.operator.output import json_option, show, show_table
from server.settings import Settings, read_settings

#: Seconds that a cancel waits for the running server to end the job.
PATIENCE_S = 10.0
_JOB_ID = re.compile(r"[0-9A-Z]{26}")


@click.group()
def jobs() -> None:
    """List, show and cancel jobs of any client."""


@jobs.command("list")
@click.option("--client", metavar="NAME", type=client_name, help="Only this client's.")
@click.option("--status", type=click.Choice([status.value for status in JobStatus]), help="Only those.")
@limit_option
@json_option
def list_(client: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """List jobs, newest first."""
    with reading(read_settings()) as connection:
        if client is not None:
            clients.named(connection, client)
        rows = job_reports.page(connection, client, None if status is None else JobStatus(status), limit)
    show_table(rows, as_json=as_json)


@jobs.command("show")
@click.argument("job_or_image", metavar="ID|IMAGE.png")
@json_option
def show_(job_or_image: str, as_json: bool) -> None:
    """Show a job: what was asked, what it was resolved to, and all that happened to it. An image's id or file will do."""
    public_id = _id_in(Path(job_or_image)) if job_or_image.lower().endswith(".png") else job_or_image
    if not public_id.isascii():
        raise _unknown(public_id)
    with reading(read_settings()) as connection:
        found = job_reports.whole(connection, artifacts.job_of(connection, public_id) or public_id)
    if found is None:
        raise _unknown(public_id)
    show(found, _in_lines(found), as_json=as_json)


@jobs.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True, type=ulid)
@json_option
def cancel(job_ids: tuple[str, ...], as_json: bool) -> None:
    """Cancel jobs and give their clients the credits back; a running server ends them within seconds."""
    settings = read_settings()
    job_ids = tuple(dict.fromkeys(job_ids))
    with writing(settings) as connection:
        found = job_reports.named(connection, job_ids)
        for job_id in job_ids:
            if job_id not in found:
                raise _unknown(job_id)
        to_end = [job_id for job_id in job_ids if not found[job_id].status.ended]
        if not to_end:
            raise CommandError(
                "; ".join(f"job {one} has ended already, with status {found[one].status}" for one in found)
            )
        for job_id in to_end:
            queue_control.ask_for_cancel(connection, job_id)
    try:
        with hold(settings.data), writing_quietly(settings) as connection:
            for job_id in to_end:
                ledger.fail(connection, job_id, FailureReason.CANCELLED, "Cancelled by the operator")
    except AlreadyRunning:
        # The running server has the jobs, and looks for the request to cancel them.
        _await_ends(settings, to_end)
    with reading(settings) as connection:
        ended = found | job_reports.named(connection, to_end)
    reports = [ended[job_id] for job_id in job_ids]
    show(reports, "\n".join(map(_what_became_of, reports)), as_json=as_json)


def _what_became_of(job: JobReport) -> str:
    if not job.status.ended:
        return f"{job.public_id} ends as soon as the server can stop it"
    if job.reason != FailureReason.CANCELLED:
        return f"{job.public_id} had ended before, with status {job.status}"
    return f"{job.public_id} is cancelled; {job.client} has {job.refunded} credits back"


def _id_in(image: Path) -> str:
    """Return the id of the job that made an image file, from its text chunk or else from its name."""
    # Imported here: Pillow takes longer to import than the other commands to run.
    from pipelines.origin import read_origin

    try:
        origin = read_origin(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise CommandError(f"{image} cannot be read as a PNG: {error}") from error
    if origin is not None:
        return origin.job
    # Files in the images folder are named after their job.
    if not _JOB_ID.match(image.stem):
        raise CommandError(
            f"{image} does not name its job: only copies do that were saved from the page, from an archive, or with"
            " &save=true behind the picture's link"
        )
    return image.stem[:26]


def _await_ends(settings: Settings, job_ids: list[str]) -> None:
    """Wait up to PATIENCE_S for the ends of jobs."""
    deadline = time.monotonic() + PATIENCE_S
    with reading(settings) as connection:
        while time.monotonic() < deadline:
            if all(job.status.ended for job in job_reports.named(connection, job_ids).values()):
                return
            time.sleep(0.1)


def _unknown(job_id: str) -> CommandError:
    return CommandError(f"there is no job {job_id!r}; `backlot jobs list` shows them")


def _in_lines(found: WholeJob) -> str:
    """Return the job's fields, its spec and its plan, and a line for each event."""
    job = msgspec.to_builtins(found.job)
    width = max(map(len, job))
    fields = [f"{name:{width}}  {value}" for name, value in job.items() if value is not None]
    texts = [
        f"{name:{width}}  {msgspec.json.encode(value).decode()}"
        for name, value in (("request", found.request), ("plan", found.plan))
    ]
    events = [f"{event.created_at}  {event.stage or event.event_type:10}  {event.message}" for event in found.events]
    return "\n".join([*fields, *texts, "", *events])
