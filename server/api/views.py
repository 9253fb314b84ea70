"""The views that clients read, made from the ledger's rows. Links are signed when they are read, never stored."""

from typing import Any

import msgspec

from pipelines.protocol import Stage
from server.api.links import LinkKind, Links
from server.clock import Time
from server.jobs import EventType, JobStatus, JobType, Understood
from server.ledger.artifacts import ArtifactKind, ArtifactRole, ArtifactRow
from server.ledger.catalog import EntryRow, EntryStatus
from server.ledger.events import EventRow
from server.ledger.job_reads import ClientEvents, EventsSince, JobDetail, JobSummary
from server.ledger.webhooks import WebhookEvent


class Linker(msgspec.Struct, frozen=True):
    """Makes absolute image links for one request."""

    links: Links
    base: str

    def url(self, kind: LinkKind, name: str) -> str:
        return self.links.url(self.base, kind, name)


class Artifact(msgspec.Struct, frozen=True):
    #: Its catalogue entry has the same. A preview has a name instead.
    public_id: str
    #: A signed link that works without a key until it expires; null once the image was removed.
    image_url: str | None
    kind: ArtifactKind
    role: ArtifactRole
    label: str
    #: All it takes to make the same bytes again, with timings and, if it was asked for, `eval`.
    meta: dict[str, Any]


class JobEvent(msgspec.Struct, frozen=True):
    seq: int
    event_type: EventType
    visibility: str
    stage: str | None
    message: str
    artifacts: list[Artifact]
    extra: dict[str, Any]
    created_at: Time


class JobPage(msgspec.Struct, frozen=True):
    jobs: list[JobSummary]
    limit: int
    offset: int
    #: How many jobs this page has.
    count: int
    #: How many there are on all pages.
    total: int


class JobView(msgspec.Struct, frozen=True):
    public_id: str
    job_type: JobType
    status: JobStatus
    created_at: Time
    request: dict[str, Any]
    result: list[Artifact]
    latest_event: JobEvent | None
    #: Images that go before this job's next one, 0 is next; null if none of its images waits.
    queue_position: int | None
    #: Seconds until its next image is there, guessed from the last images; null if none of its images waits.
    estimated_seconds: float | None
    #: 0–1.
    progress: float


class WholeJobPage(msgspec.Struct, frozen=True):
    jobs: list[JobView]
    limit: int
    offset: int
    #: How many jobs this page has.
    count: int
    #: How many there are on all pages.
    total: int


class ClientEvent(JobEvent, frozen=True, kw_only=True):
    """An event among those of all of a client's jobs."""

    job_public_id: str
    #: Its place among all events of the client.
    cursor: int


class ClientEventPage(msgspec.Struct, frozen=True):
    events: list[ClientEvent]
    #: The last event's cursor; if there is none, that of the client's latest event.
    latest_cursor: int


class WebhookMessage(msgspec.Struct, frozen=True):
    """The message of a webhook: a job of the client has ended."""

    type: WebhookEvent
    #: When the job ended.
    timestamp: Time
    #: The job as `GET /v1/jobs/{id}` shows it, with links signed for this try.
    data: JobView


class EventPage(msgspec.Struct, frozen=True):
    public_id: str
    events: list[JobEvent]
    latest_seq: int


class BackgroundEntrySpec(msgspec.Struct, frozen=True):
    public_id: str
    display_name: str
    scene_type: str
    mood: str
    dominant_colors: list[str]
    metadata: dict[str, Any]


class ImageEntrySpec(msgspec.Struct, frozen=True):
    public_id: str
    display_name: str
    prompt: str
    metadata: dict[str, Any]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that entries of both parts of the catalogue have."""

    public_id: str
    image_url: str
    #: A signed link to a WebP whose longest side is 384 pixels at most.
    thumbnail_url: str
    status: EntryStatus
    favourite: bool
    #: Pixels.
    width: int
    height: int
    model: str
    seed: int
    steps: int
    guidance: float
    description: str
    generation_job_public_id: str
    #: Which of its job's images it is, from 1, and how many the job made.
    number: int
    of: int
    created_at: Time
    #: How free text was mapped; null if the model has no closed vocabulary.
    understood: Understood | None


class BackgroundEntry(Entry, frozen=True, kw_only=True):
    spec: BackgroundEntrySpec


class ImageEntry(Entry, frozen=True, kw_only=True):
    spec: ImageEntrySpec


def artifact(row: ArtifactRow, linker: Linker) -> Artifact:
    link = None if row.removed else linker.url(LinkKind.IMAGE, row.public_id)
    return Artifact(row.public_id, link, row.kind, row.role, row.label, row.meta)


def event(row: EventRow, job_id: str, ended: bool, artifacts: list[Artifact], linker: Linker) -> JobEvent:
    """Return an event of a job that has these artifacts; while it has not ended, some events have a preview."""
    shown = artifacts if row.with_artifacts else []
    if row.stage == Stage.DENOISING and "preview" in row.extra and not ended:
        shown = [_preview(row, job_id, linker)]
    return JobEvent(
        seq=row.seq,
        event_type=row.event_type,
        visibility="public",
        stage=row.stage,
        message=row.message,
        artifacts=shown,
        extra=row.extra,
        created_at=row.created_at,
    )


def _preview(row: EventRow, job_id: str, linker: Linker) -> Artifact:
    step, steps = row.extra["preview"], row.extra["steps"]
    # Each step has a link of its own, so that a browser fetches it again.
    name = f"{job_id}-{row.extra.get('image', 0)}.{step}"
    label = f"Preview after step {step} of {steps}"
    meta = {"step": step, "steps": steps}
    return Artifact(
        name, linker.url(LinkKind.PREVIEW, name), ArtifactKind.PREVIEW, ArtifactRole.INTERMEDIATE, label, meta
    )


def job(
    found: JobDetail, linker: Linker, queue_position: int | None, estimated_seconds: float | None, progress: float
) -> JobView:
    result = [artifact(row, linker) for row in found.artifacts]
    return JobView(
        public_id=found.summary.public_id,
        job_type=found.summary.job_type,
        status=found.summary.status,
        created_at=found.summary.created_at,
        request=found.request,
        result=result,
        latest_event=None
        if found.latest_event is None
        else event(found.latest_event, found.summary.public_id, found.summary.status.ended, result, linker),
        queue_position=queue_position,
        estimated_seconds=estimated_seconds,
        progress=1.0 if found.summary.status is JobStatus.SUCCESS else progress,
    )


def event_page(public_id: str, found: EventsSince, linker: Linker) -> EventPage:
    artifacts = [artifact(row, linker) for row in found.artifacts]
    return EventPage(
        public_id, [event(row, public_id, found.ended, artifacts, linker) for row in found.events], found.latest_seq
    )


def client_event_page(found: ClientEvents, linker: Linker) -> ClientEventPage:
    events = []
    for row in found.events:
        made = [artifact(each, linker) for each in row.artifacts]
        told = event(row.event, row.job, row.ended, made, linker)
        events.append(ClientEvent(**msgspec.structs.asdict(told), job_public_id=row.job, cursor=row.event.cursor))
    return ClientEventPage(events, found.latest_cursor)


def background(row: EntryRow, linker: Linker) -> BackgroundEntry:
    return BackgroundEntry(spec=BackgroundEntrySpec(public_id=row.public_id, **row.spec), **_common(row, linker))


def image(row: EntryRow, linker: Linker) -> ImageEntry:
    return ImageEntry(spec=ImageEntrySpec(public_id=row.public_id, **row.spec), **_common(row, linker))


def _common(row: EntryRow, linker: Linker) -> dict[str, Any]:
    understood = row.meta.get("understood")
    return {
        "public_id": row.public_id,
        "image_url": linker.url(LinkKind.IMAGE, row.public_id),
        "thumbnail_url": linker.url(LinkKind.THUMBNAIL, row.public_id),
        "status": row.status,
        "favourite": row.favourite,
        **{name: row.meta[name] for name in ("width", "height", "model", "seed", "steps", "guidance")},
        "description": row.description,
        "generation_job_public_id": row.job,
        "number": row.number,
        "of": row.of,
        "created_at": row.created_at,
        "understood": None if understood is None else msgspec.convert(understood, Understood),
    }
