"""One job that has not ended: its images, where each of them is, and why the job fails if it does."""

from enum import Enum, auto
from typing import Any

import msgspec

from pipelines import protocol
from pipelines.denoising.families import keeps_negatives_apart
from pipelines.failure_reason import FailureReason
from pipelines.model_card import ModelCard
from server.jobs import Generation, Job
from server.scheduler.queue import BatchKey


class ImageState(Enum):
    """The state of an image of a job."""

    #: It neither waits nor runs.
    IDLE = auto()
    #: It is in the queue.
    WAITING = auto()
    #: It is in a GPU process.
    IN_FLIGHT = auto()
    #: It is on disk.
    GENERATED = auto()


class Image(msgspec.Struct, kw_only=True, eq=False):
    """One image of a job, and what its runs have come to."""

    image_id: str
    job: "ActiveJob"
    #: Its place among the images of its job, from 0.
    index: int
    #: The image to generate. A retry may change the seed.
    generation: Generation
    state: ImageState = ImageState.IDLE
    #: The batch key with which it was sent last; None if it was not sent yet.
    key: BatchKey | None = None
    #: When it began to wait for its present run, in seconds on the monotonic clock.
    arrived: float = 0.0
    #: Runs that count as attempts, the present one included.
    attempts: int
    #: It shares slots with no other image.
    isolated: bool = False
    #: When its slot group began, if the server takes it back from that group; None if not, or if the group had not begun.
    taken_back: float | None = None
    #: Seconds that it has lost because it was taken back.
    lost_s: float = 0.0
    #: Crashes of GPU processes that it was present at.
    crashes: int = 0
    #: 0–1.
    progress: float = 0.0
    #: The step of a preview that is on disk and that no event has told of yet; None if there is none.
    preview: int | None = None
    #: The GPU process's report that its file is on disk; None until then.
    report: protocol.Generated | None = None

    def batch_key(self, card: ModelCard) -> BatchKey:
        """Return its batch key under this card of its model."""
        made = self.generation
        negative = keeps_negatives_apart(card, made.negative_prompt)
        return BatchKey(
            made.model, made.width, made.height, made.steps, made.guidance, made.loras, made.second, negative
        )

    @property
    def next_seed(self) -> int:
        """The seed to try after a bad image. No other image of its job has this seed or will have it. 0 follows 2**53 − 1."""
        return (self.generation.seed + len(self.job.images)) % 2**53

    @property
    def next_attempt(self) -> str:
        """The next attempt as messages name it."""
        return f"attempt {self.attempts + 1} of {self.job.accepted.plan.max_attempts}"

    def named_in(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Return an event's `extra`, with the image's index added if its job has several images."""
        return extra if len(self.job.images) == 1 else {**extra, "image": self.index}


class Ending(msgspec.Struct, frozen=True):
    """The reason for which a job fails."""

    reason: FailureReason
    message: str
    extra: dict[str, Any]


class ActiveJob(msgspec.Struct, eq=False):
    """A job that has not ended."""

    accepted: Job
    #: When it came to this server, in seconds on the monotonic clock.
    submitted: float
    images: list[Image] = []
    #: One of its images was sent to a GPU process.
    in_progress: bool = False
    #: The operator moved it before all others.
    front: bool = False
    #: The first reason to fail, if there is one. The job then ends as soon as none of its images is in a GPU process.
    ending: Ending | None = None

    @property
    def attempts(self) -> int:
        """The attempts of the image that has the most."""
        return max(image.attempts for image in self.images)

    def images_in(self, state: ImageState) -> list[Image]:
        """Return its images in this state."""
        return [image for image in self.images if image.state is state]
