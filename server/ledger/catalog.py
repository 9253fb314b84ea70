"""Artifacts, the images that jobs made, and the catalogue, whose entries are what clients keep of them."""

import sqlite3
from enum import StrEnum
from typing import Any

import msgspec
from ulid import ULID

from server.clock import Time, now


class ArtifactKind(StrEnum):
    CATALOG_IMAGE = "catalog_image"
    IMAGE = "image"


class ArtifactRole(StrEnum):
    INTERMEDIATE = "intermediate"
    FINAL = "final"


class EntryType(StrEnum):
    """A part of the catalogue."""

    BACKGROUND = "background"
    IMAGE = "image"


class EntryStatus(StrEnum):
    ACTIVE = "active"
    ARCHIVED = "archived"


class NewImage(msgspec.Struct, frozen=True, kw_only=True):
    """A final image, and the catalogue entry that is made with it."""

    #: Relative to the images folder.
    path: str
    kind: ArtifactKind
    label: str
    #: All it takes to make the same bytes again, and what was measured.
    meta: dict[str, Any]
    entry_type: EntryType
    #: What the entry shows of the spec.
    spec: dict[str, Any]
    description: str


class Result(msgspec.Struct, frozen=True):
    """What to keep of a job that went well."""

    images: list[NewImage]
    #: What the job's last event says.
    message: str


class ArtifactRow(msgspec.Struct, frozen=True):
    public_id: str
    kind: ArtifactKind
    role: ArtifactRole
    label: str
    meta: dict[str, Any]


class EntryRow(msgspec.Struct, frozen=True):
    public_id: str
    #: Public ids of the entry's artifact and of the job that made it.
    artifact: str
    job: str
    status: EntryStatus
    spec: dict[str, Any]
    description: str
    created_at: Time


def add(connection: sqlite3.Connection, client_id: int, job_id: int, image: NewImage) -> None:
    """Keep a job's image as a final artifact and as an active entry."""
    moment = now()
    artifact = connection.execute(
        "INSERT INTO artifacts (public_id, job_id, path, kind, role, label, meta, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            str(ULID()),
            job_id,
            image.path,
            image.kind,
            ArtifactRole.FINAL,
            image.label,
            msgspec.json.encode(image.meta).decode(),
            moment,
        ),
    ).fetchone()["id"]
    connection.execute(
        "INSERT INTO catalog"
        " (public_id, client_id, job_id, artifact_id, entry_type, status, scene_type, spec, description, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            str(ULID()),
            client_id,
            job_id,
            artifact,
            image.entry_type,
            EntryStatus.ACTIVE,
            image.spec.get("scene_type"),
            msgspec.json.encode(image.spec).decode(),
            image.description,
            moment,
        ),
    )


def artifacts(connection: sqlite3.Connection, job_id: int) -> list[ArtifactRow]:
    """Return a job's artifacts in the order they were kept."""
    return [
        ArtifactRow(
            row["public_id"],
            ArtifactKind(row["kind"]),
            ArtifactRole(row["role"]),
            row["label"],
            msgspec.json.decode(row["meta"]),
        )
        for row in connection.execute("SELECT * FROM artifacts WHERE job_id = ? ORDER BY id", (job_id,))
    ]


def artifact_path(connection: sqlite3.Connection, public_id: str) -> str | None:
    """Return where an artifact's file is, relative to the images folder; None if there is no such artifact."""
    row = connection.execute("SELECT path FROM artifacts WHERE public_id = ?", (public_id,)).fetchone()
    return None if row is None else str(row["path"])


_ENTRIES = (
    "SELECT catalog.*, artifacts.public_id AS artifact, jobs.public_id AS job FROM catalog"
    " JOIN artifacts ON artifacts.id = catalog.artifact_id JOIN jobs ON jobs.id = catalog.job_id"
    " WHERE catalog.client_id = ? AND catalog.entry_type = ?"
)


def entries(
    connection: sqlite3.Connection,
    client_id: int,
    entry_type: EntryType,
    scene_type: str | None,
    status: EntryStatus | None,
    limit: int,
    offset: int,
) -> list[EntryRow]:
    """Return a page of a client's entries of one type, newest first."""
    rows = connection.execute(
        f"{_ENTRIES} AND (? IS NULL OR catalog.scene_type = ?) AND (? IS NULL OR catalog.status = ?)"
        " ORDER BY catalog.id DESC LIMIT ? OFFSET ?",
        (client_id, entry_type, scene_type, scene_type, status, status, limit, offset),
    )
    return [_entry(row) for row in rows]


def entry(connection: sqlite3.Connection, client_id: int, entry_type: EntryType, public_id: str) -> EntryRow | None:
    """Return the client's entry; None if it is unknown, of another type or another client's."""
    row = connection.execute(f"{_ENTRIES} AND catalog.public_id = ?", (client_id, entry_type, public_id)).fetchone()
    return None if row is None else _entry(row)


def _entry(row: sqlite3.Row) -> EntryRow:
    return EntryRow(
        row["public_id"],
        row["artifact"],
        row["job"],
        EntryStatus(row["status"]),
        msgspec.json.decode(row["spec"]),
        row["description"],
        row["created_at"],
    )
