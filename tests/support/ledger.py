"""Jobs for tests of the ledger, made and ended without a server."""

import sqlite3

from ulid import ULID

from server.jobs import FailureMode, Generation, Job, JobType, Plan
from server.ledger import jobs, request_log
from server.ledger.artifacts import ArtifactKind
from server.ledger.catalog import EntryType, NewImage, Result
from tests.support.files import request_row

PLAN = Plan(
    generations=(
        Generation(
            model="m", width=512, height=512, steps=4, guidance=1.0, seed=1, prompt="p", negative_prompt="", colors=()
        ),
    ),
    evaluate=False,
    on_technical_failure=FailureMode.FAIL,
    max_attempts=3,
    display_name="d",
)
REQUEST = {"scene_type": "marble", "mood": "warm", "dominant_colors": [], "metadata": {}}


def row(number: int) -> request_log.RequestRow:
    return request_row(f"request-{number}")


def new_job(client_id: int, cost: int = 5) -> Job:
    return Job(
        job_id=str(ULID()),
        client_id=client_id,
        job_type=JobType.BACKGROUND_GENERATOR,
        request=REQUEST,
        plan=PLAN,
        credits_cost=cost,
    )


def new_image(path: str) -> NewImage:
    """Return an image of a job that its workflow keeps."""
    return NewImage(
        path=path,
        kind=ArtifactKind.IMAGE,
        label="l",
        meta={"seed": 1},
        entry_type=EntryType.IMAGE,
        spec={"display_name": "l", "prompt": "p", "metadata": {}},
        description="d",
    )


def accepted_job(connection: sqlite3.Connection, client_id: int) -> str:
    """Make a job that costs nothing and return its id."""
    number = connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
    accepted, _ = jobs.add(connection, new_job(client_id, cost=0), "x", row(number), None)
    return accepted.job_id


def ended_job(connection: sqlite3.Connection, client_id: int, *, success: bool = True) -> str:
    """Make a job that costs nothing, end it, and return its id."""
    job_id = accepted_job(connection, client_id)
    ended = (
        jobs.succeed(connection, job_id, Result([], "done"))
        if success
        else jobs.fail(connection, job_id, "black_image", "m")
    )
    assert ended
    return job_id
