"""Every workflow there is. A new one is a value in JobType, a module beside this one and a row here."""

from collections.abc import Sequence
from typing import Any

from pipelines import protocol
from server.jobs import Job, JobType
from server.ledger.catalog import Result
from server.workflows.background import BACKGROUND_GENERATOR
from server.workflows.image import IMAGE_GENERATION
from server.workflows.workflow import Workflow

WORKFLOWS: dict[JobType, Workflow[Any]] = {
    workflow.job_type: workflow for workflow in (BACKGROUND_GENERATOR, IMAGE_GENERATION)
}


def result_of(job: Job, images: Sequence[protocol.Generated]) -> Result:
    """Return what to keep of a job's images, by its workflow."""
    return WORKFLOWS[job.job_type].result_of(job, images)
