"""Tells the operator how far each job is that has not ended."""

import msgspec

from server.scheduler.active_job import ImageState
from server.scheduler.active_jobs import ActiveJobs


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    #: How many of its images are in each state. Withdrawn images count in none.
    waiting: int
    in_flight: int
    generated: int
    #: 0–1.
    progress: float
    #: Images that go before its next one; None if none of its images waits.
    position: int | None
    #: The operator moved it before all others.
    front: bool
    #: It fails as soon as no GPU process has an image of it.
    ending: bool


def standings(jobs: ActiveJobs) -> list[Standing]:
    """Return the jobs in the order in which they are served: those that run, and then by their next image."""
    found = [
        Standing(
            job_id=job.accepted.job_id,
            waiting=len(job.images_in(ImageState.WAITING)),
            in_flight=len(job.images_in(ImageState.IN_FLIGHT)),
            generated=len(job.images_in(ImageState.GENERATED)),
            progress=round(jobs.progress(job.accepted.job_id), 4),
            position=jobs.position(job.accepted.job_id),
            front=job.front,
            ending=job.ending is not None,
        )
        for job in jobs
    ]
    return sorted(found, key=lambda one: (one.in_flight == 0, -1 if one.position is None else one.position))
