"""A job: its spec, the plan that the spec was resolved to, and its status."""

from enum import StrEnum
from typing import Any

import msgspec

from pipelines.colors import PaletteMode, Rgb
from pipelines.lora import Lora
from pipelines.upscale import SecondPass


class JobType(StrEnum):
    """The workflow a job belongs to."""

    BACKGROUND_GENERATOR = "BACKGROUND_GENERATOR"
    IMAGE_GENERATION = "IMAGE_GENERATION"

    @property
    def operation(self) -> str:
        """Return the name in the route and in models.toml's `[operations.NAME]`."""
        return self.lower().replace("_", "-")


class JobStatus(StrEnum):
    NOT_STARTED = "NOT_STARTED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"

    @property
    def ended(self) -> bool:
        return self in (JobStatus.SUCCESS, JobStatus.FAILURE)


class EventType(StrEnum):
    QUEUED = "queued"
    STAGE = "stage"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class FailureMode(StrEnum):
    """The spec's wish for an image that nobody could use, or a run that broke."""

    #: End as FAILURE and give the credits back.
    FAIL = "fail"
    #: Run again, up to the operation's `max_attempts`.
    RETRY = "retry"
    #: Keep a flawed image, with its defect in `meta`. A run that broke has no image, so its job fails.
    DELIVER = "deliver"


class Understood(msgspec.Struct, frozen=True):
    """A spec's free text as a model with a closed vocabulary understood it."""

    #: Words of the vocabulary; null if the text means none of them, and the vocabulary's default is used.
    scene: str | None
    mood: str | None
    #: How many of the spec's colours the model reads; it leaves out those after them.
    colors_used: int


class ClientClass(StrEnum):
    """The label by which metrics tell jobs apart by their clients: there are few classes, and many clients."""

    #: A job of an `sk_test_` key.
    TEST = "test"
    #: Jobs of keys with a priority below 0, of 0, and above 0.
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One image to generate, with nothing left open."""

    model: str
    #: Pixels.
    width: int
    height: int
    steps: int
    guidance: float
    #: 0 … 2^53 − 1.
    seed: int
    prompt: str
    negative_prompt: str
    #: The end of the prompt that a model must read even if the prompt is too long for it.
    brand_words: str = ""
    colors: tuple[Rgb, ...] = ()
    palette: PaletteMode = PaletteMode.PROMPT
    #: In the order of their names.
    loras: tuple[Lora, ...] = ()
    #: None if the model makes the size itself.
    second: SecondPass | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The result of resolving a request when it was accepted; models.toml may change afterwards.

    A job succeeds if all of its generations do.
    """

    generations: tuple[Generation, ...]
    evaluate: bool
    on_technical_failure: FailureMode
    #: Runs that each generation may take.
    max_attempts: int
    display_name: str
    #: None if the model has no closed vocabulary.
    understood: Understood | None = None

    @property
    def model(self) -> str:
        """Return the model's name, which a job's generations share."""
        return self.generations[0].model


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has not ended."""

    job_id: str
    client_id: int
    job_type: JobType
    #: The spec as it was accepted, its defaults filled in.
    request: dict[str, Any]
    plan: Plan
    #: The most runs that one of its generations has begun.
    attempts: int = 0
    #: The priority of the key it was sent with; each step doubles the client's share of the GPU.
    priority: int = 0
    #: Whether a request waits for it; if that request goes away, nobody wants the job.
    awaited: bool = False
    #: Whether it was sent with an `sk_test_` key.
    test: bool = False
    credits_cost: int = 0

    def image_id(self, index: int) -> str:
        """Return the id of image `index` of the job, counted from 0, while it is on its way."""
        return f"{self.job_id}-{index}"

    @property
    def client_class(self) -> ClientClass:
        if self.test:
            return ClientClass.TEST
        if self.priority == 0:
            return ClientClass.NORMAL
        return ClientClass.LOW if self.priority < 0 else ClientClass.HIGH


def image_path(job_id: str, index: int, count: int) -> str:
    """Return where image `index` of a job's `count` images is kept, relative to the images folder.

    A run that is repeated writes the same file again.
    """
    name = job_id if count == 1 else f"{job_id}-{index}"
    return f"{job_id[-2:]}/{name}.png"
