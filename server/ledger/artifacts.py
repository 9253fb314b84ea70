"""Artifacts: the images that jobs made. One whose image was removed keeps its meta."""

import sqlite3
from enum import StrEnum
from typing import Any

import msgspec

from pipelines.origin import Origin
from server.clock import now
from server.ledger.rows import as_json, read


class ArtifactKind(StrEnum):
    CATALOG_IMAGE = "catalog_image"
    IMAGE = "image"
    #: It shows an image on its way, and has no row.
    PREVIEW = "preview"


class ArtifactRole(StrEnum):
    INTERMEDIATE = "intermediate"
    FINAL = "final"


class ArtifactRow(msgspec.Struct, frozen=True):
    public_id: str
    kind: ArtifactKind
    role: ArtifactRole
    label: str
    meta: dict[str, Any]
    #: Whether its image was removed.
    removed: bool


class ImageFile(msgspec.Struct, frozen=True):
    #: Relative to the images folder.
    path: str
    #: The image's name for people: its entry's name in the catalogue, or the name it was made under.
    display_name: str
    #: The origin that a saved copy tells.
    origin: Origin


def add(
    connection: sqlite3.Connection,
    job_id: int,
    public_id: str,
    path: str,
    kind: ArtifactKind,
    label: str,
    meta: dict[str, Any],
) -> int:
    """Keep a job's image as a final artifact, and return its row's id. `path` is relative to the images folder."""
    row = connection.execute(
        "INSERT INTO artifacts (public_id, job_id, path, kind, role, label, meta, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (public_id, job_id, path, kind, ArtifactRole.FINAL, label, as_json(meta), now()),
    ).fetchone()
    return int(row["id"])


def of_job(connection: sqlite3.Connection, job_id: int) -> list[ArtifactRow]:
    """Return a job's artifacts in the order they were kept."""
    rows = connection.execute(
        "SELECT *, removed_at IS NOT NULL AS removed FROM artifacts WHERE job_id = ? ORDER BY id", (job_id,)
    )
    return [read(row, ArtifactRow, "meta") for row in rows]


def job_of(connection: sqlite3.Connection, public_id: str) -> str | None:
    """Return the public id of the job that made an artifact; None if there is no such artifact."""
    row = connection.execute(
        "SELECT jobs.public_id FROM artifacts JOIN jobs ON jobs.id = job_id WHERE artifacts.public_id = ?", (public_id,)
    ).fetchone()
    return None if row is None else str(row["public_id"])


def image_file(connection: sqlite3.Connection, public_id: str) -> ImageFile | None:
    """Return the file of an artifact's image; None if there is no such artifact, or its image was removed."""
    row = connection.execute(
        "SELECT path, coalesce(json_extract(catalog.spec, '$.display_name'), label) AS display_name,"
        " jobs.public_id AS job, json_extract(jobs.request, '$.scene_type') AS scene_type,"
        " json_extract(jobs.request, '$.mood') AS mood FROM artifacts"
        " JOIN jobs ON jobs.id = artifacts.job_id LEFT JOIN catalog ON catalog.artifact_id = artifacts.id"
        " WHERE artifacts.public_id = ? AND removed_at IS NULL",
        (public_id,),
    ).fetchone()
    if row is None:
        return None
    origin = Origin(row["job"], row["display_name"], row["scene_type"], row["mood"])
    return ImageFile(row["path"], row["display_name"], origin)


def paths(connection: sqlite3.Connection) -> set[str]:
    """Return the paths of all artifacts' files, relative to the images folder."""
    return {row["path"] for row in connection.execute("SELECT path FROM artifacts")}


def kept_paths(connection: sqlite3.Connection) -> list[str]:
    """Return the paths of the images that were not removed, relative to the images folder."""
    return [row["path"] for row in connection.execute("SELECT path FROM artifacts WHERE removed_at IS NULL")]
