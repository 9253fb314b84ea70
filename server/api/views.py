"""What clients read, and how it is made from the ledger's rows. Links are signed when they are read, never stored."""

import sqlite3
from typing import Any

import msgspec

from server.api.links import Links
from server.jobs import JobStatus
from server.ledger import jobs


class Linker(msgspec.Struct, frozen=True):
    """Makes absolute image links for one request."""

    links: Links
    base: str

    def url(self, artifact: str) -> str:
        return self.links.url(self.base, artifact)


class Artifact(msgspec.Struct, frozen=True):
    #: A signed link that works without a key until it expires.
    image_url: str
    kind: str
    role: str
    label: str
    #: All it takes to make the same bytes again, with timings and, where asked for, `eval`.
    meta: dict[str, Any]


class JobEvent(msgspec.Struct, frozen=True):
    seq: int
    event_type: jobs.EventType
    visibility: str
    stage: str | None
    message: str
    artifacts: list[Artifact]
    extra: dict[str, Any]
    created_at: str


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


class JobView(msgspec.Struct, frozen=True):
    public_id: str
    job_type: str
    status: JobStatus
    created_at: str
    request: dict[str, Any]
    result: list[Artifact]
    latest_event: JobEvent | None
    #: Jobs that go before this one, 0 is next; null once it has started.
    queue_position: int | None
    #: 0–1.
    progress: float


class EventPage(msgspec.Struct, frozen=True):
    public_id: str
    events: list[JobEvent]
    latest_seq: int


class CatalogSpec(msgspec.Struct, frozen=True):
    public_id: str
    display_name: str
    scene_type: str
    mood: str
    dominant_colors: list[str]
    metadata: dict[str, Any]


class Background(msgspec.Struct, frozen=True):
    public_id: str
    image_url: str
    status: str
    spec: CatalogSpec
    description: str
    generation_job_public_id: str
    created_at: str


def summary(row: sqlite3.Row) -> JobSummary:
    return JobSummary(row["public_id"], row["job_type"], row["status"], row["created_at"])


def artifact(row: sqlite3.Row, linker: Linker) -> Artifact:
    meta = msgspec.json.decode(row["meta"])
    return Artifact(linker.url(row["public_id"]), row["kind"], row["role"], row["label"], meta)


def event(row: sqlite3.Row, artifacts: list[Artifact]) -> JobEvent:
    return JobEvent(
        seq=row["seq"],
        event_type=row["event_type"],
        visibility="public",
        stage=row["stage"],
        message=row["message"],
        artifacts=artifacts if row["with_artifacts"] else [],
        extra=msgspec.json.decode(row["extra"]),
        created_at=row["created_at"],
    )


def job(
    connection: sqlite3.Connection, client_id: int, public_id: str, linker: Linker
) -> tuple[sqlite3.Row, list[Artifact], JobEvent | None] | None:
    """The job's row, its results and its latest event; None where the client has no such job."""
    row = jobs.one(connection, client_id, public_id)
    if row is None:
        return None
    result = [artifact(found, linker) for found in jobs.artifacts(connection, row["id"])]
    latest = jobs.latest_event(connection, row["id"])
    return row, result, None if latest is None else event(latest, result)


def event_page(
    connection: sqlite3.Connection, client_id: int, public_id: str, since: int, linker: Linker
) -> tuple[EventPage, bool] | None:
    """The events after `since`, and whether the job has ended; None where the client has no such job."""
    row = jobs.one(connection, client_id, public_id)
    if row is None:
        return None
    rows = jobs.events(connection, row["id"], since)
    result = [artifact(found, linker) for found in jobs.artifacts(connection, row["id"])]
    page = EventPage(public_id, [event(found, result) for found in rows], row["last_seq"])
    return page, row["ended_at"] is not None


def background(row: sqlite3.Row, linker: Linker) -> Background:
    spec = msgspec.json.decode(row["spec"])
    return Background(
        public_id=row["public_id"],
        image_url=linker.url(row["artifact"]),
        status=row["status"],
        spec=CatalogSpec(public_id=row["public_id"], **spec),
        description=row["description"],
        generation_job_public_id=row["job"],
        created_at=row["created_at"],
    )
