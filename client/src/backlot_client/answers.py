"""The server's answers. Fields that a newer server adds are ignored; those that an older one lacks have their defaults."""

from enum import Enum
from typing import Any

import msgspec


class JobStatus(str, Enum):
    NOT_STARTED = "NOT_STARTED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"


class EventType(str, Enum):
    QUEUED = "queued"
    STAGE = "stage"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Understood(msgspec.Struct, frozen=True):
    """A spec as a model with a closed vocabulary understood it; a scene or mood of None was not understood."""

    scene: str | None = None
    mood: str | None = None
    #: How many of the colours reach the picture.
    colors_used: int | None = None


class Accepted(msgspec.Struct, frozen=True):
    """The job of a spec. It and its charge are on the server's disk."""

    request_id: str
    job_id: str
    status: JobStatus
    credits_cost: int
    understood: Understood | None = None


class Estimate(msgspec.Struct, frozen=True):
    """The price of a spec, and the time until its pictures could be there."""

    credits_cost: int
    #: The balance before the charge.
    balance: int
    #: Images that go before its first one; 0 is next.
    queue_position: int
    #: A guess from the times of earlier pictures.
    estimated_seconds: float
    understood: Understood | None = None


class Artifact(msgspec.Struct, frozen=True):
    #: A signed link that works without a key until it expires; None once the picture was deleted.
    image_url: str | None
    kind: str
    #: `intermediate` or `final`.
    role: str
    label: str
    #: Seed, model, revision, size, steps, guidance, prompt, timings: all it takes to make the same bytes again.
    meta: dict[str, Any] = {}
    #: It is also the id of its catalogue entry. A preview has an id but no entry.
    public_id: str | None = None


class JobEvent(msgspec.Struct, frozen=True):
    #: Counts from 1 within a job, without gaps.
    seq: int
    event_type: EventType
    stage: str | None
    message: str
    #: An ISO 8601 time in UTC.
    created_at: str
    artifacts: list[Artifact] = []
    #: `step` and `steps` while denoising; `reason` and `refunded` after a failure.
    extra: dict[str, Any] = {}
    #: Whom it is for: clients see only those that are `public`.
    visibility: str = "public"

    @property
    def is_last(self) -> bool:
        return self.event_type in (EventType.SUCCEEDED, EventType.FAILED)


class JobSummary(msgspec.Struct, frozen=True):
    public_id: str
    job_type: str
    status: JobStatus
    created_at: str


class JobPage(msgspec.Struct, frozen=True):
    jobs: list[JobSummary]
    limit: int
    offset: int
    #: How many jobs this page has.
    count: int
    total: int | None = None


class Job(msgspec.Struct, frozen=True):
    public_id: str
    job_type: str
    status: JobStatus
    created_at: str
    #: The spec as the server took it.
    request: dict[str, Any]
    result: list[Artifact]
    latest_event: JobEvent | None
    #: Images that go before this job's next one, 0 is next; None if none of its images waits.
    queue_position: int | None = None
    #: The server's guess of the seconds until that image is there; None if none waits, or if the server does not say.
    estimated_seconds: float | None = None
    #: 0–1.
    progress: float | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in (JobStatus.SUCCESS, JobStatus.FAILURE)

    @property
    def images(self) -> list[Artifact]:
        """The pictures that the job was for, without previews."""
        return [artifact for artifact in self.result if artifact.role == "final"]

    @property
    def failure_reason(self) -> str | None:
        """A stable word such as `cancelled`; None if the job has not failed."""
        if self.status is not JobStatus.FAILURE or self.latest_event is None:
            return None
        return str(self.latest_event.extra.get("reason", "unknown"))


class WholeJobPage(msgspec.Struct, frozen=True):
    jobs: list[Job]
    limit: int
    offset: int
    #: How many jobs this page has.
    count: int
    total: int | None = None


class EventPage(msgspec.Struct, frozen=True):
    public_id: str
    events: list[JobEvent]
    latest_seq: int


class CatalogSpec(msgspec.Struct, frozen=True):
    public_id: str
    display_name: str
    scene_type: str = ""
    mood: str = ""
    prompt: str = ""
    dominant_colors: list[str] = []
    metadata: dict[str, Any] = {}


class CatalogEntry(msgspec.Struct, frozen=True):
    public_id: str
    image_url: str | None
    #: `active` or `archived`.
    status: str
    spec: CatalogSpec
    description: str
    generation_job_public_id: str
    created_at: str
    favourite: bool | None = None
    #: A signed link to a small WebP.
    thumbnail_url: str | None = None
    width: int | None = None
    height: int | None = None
    model: str | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    #: Which of its job's images it is, from 1, and how many the job made.
    number: int | None = None
    of: int | None = None
    #: None if the model has no closed vocabulary.
    understood: Understood | None = None


class Credits(msgspec.Struct, frozen=True):
    """`balance` is `granted - spent + refunded`."""

    balance: int
    granted: int
    spent: int
    refunded: int


class Transaction(msgspec.Struct, frozen=True):
    id: str
    #: `operation`, `subscription` or `pack`; an operator's grant is a pack.
    kind: str
    label: str
    #: Net of a refund.
    credits_delta: int
    status: str
    created_at: str


class TransactionPage(msgspec.Struct, frozen=True):
    items: list[Transaction]
    total: int
    limit: int
    offset: int


class ImagePrice(msgspec.Struct, frozen=True):
    model: str
    #: A tier.
    resolution: str
    credits_cost: int


class Operation(msgspec.Struct, frozen=True):
    """An operation. A picture costs `credits_cost` × its model's factor × its tier's, rounded with halves up."""

    name: str
    op_class: str
    credits_cost: int
    enabled: bool
    model_factors: dict[str, float] = {}
    tier_factors: dict[str, float] = {}
    #: The price of a picture, by model and tier.
    prices: list[ImagePrice] = []


class Operations(msgspec.Struct, frozen=True):
    operations: list[Operation]


class Vocabulary(msgspec.Struct, frozen=True):
    """The words that a model with a closed vocabulary knows, and how many colours it reads."""

    scenes: list[str]
    moods: list[str]
    #: Used if a text means none of them.
    default_scene: str
    default_mood: str
    colors: int


class ModelLora(msgspec.Struct, frozen=True):
    """A LoRA that a spec may name for a model."""

    name: str
    #: Words that are added to the prompts of its pictures.
    prompt: str
    licence: str


class Model(msgspec.Struct, frozen=True):
    name: str
    tiers: list[str]
    steps: int
    licence: str
    #: Whether it is in memory now; if not, it is loaded when a job asks for it.
    loaded: bool
    default: bool = False
    default_tier: str | None = None
    #: Whether it follows `negative_prompt`; if not, a spec that has one is refused.
    negative_prompt: bool = True
    #: None if it takes any words.
    vocabulary: Vocabulary | None = None
    #: The LoRAs that a spec may name.
    loras: list[ModelLora] = []


class Models(msgspec.Struct, frozen=True):
    models: list[Model]
