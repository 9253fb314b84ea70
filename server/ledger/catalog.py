"""The catalogue, whose entries are what clients keep of the images that jobs made."""

import sqlite3
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
from ulid import ULID

from pipelines.colors import Rgb, is_alike, parse_color
from server.clock import Time, now
from server.ledger import artifacts
from server.ledger.artifacts import ArtifactKind
from server.ledger.metadata import has_metadata
from server.ledger.rows import as_json, read


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
    #: The part of the spec that the entry shows.
    spec: dict[str, Any]
    #: It begins with the entry's name.
    description: str


class Result(msgspec.Struct, frozen=True):
    """The lasting part of a job that went well."""

    images: list[NewImage]
    #: The message of the job's last event.
    message: str


class EntryRow(msgspec.Struct, frozen=True, kw_only=True):
    #: The public id of its artifact too.
    public_id: str
    entry_type: EntryType
    #: The public id of the job that made it.
    job: str
    status: EntryStatus
    favourite: bool
    spec: dict[str, Any]
    description: str
    #: The meta of its artifact.
    meta: dict[str, Any]
    #: The path of its image, relative to the images folder.
    path: str
    #: Which of its job's images it is, from 1, and how many the job made. Those that were removed count.
    number: int
    of: int
    created_at: Time


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects the entries of one type to list for a client; fields that are None or empty do not matter."""

    scene_type: str | None = None
    mood: str | None = None
    #: A colour like one that the spec asked for.
    color: Rgb | None = None
    status: EntryStatus | None = None
    favourite: bool | None = None
    model: str | None = None
    #: The public id of a job.
    job: str | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    #: Each of them must be in the name, the scene, the mood or a prompt, in upper or lower case.
    words: Sequence[str] = ()
    #: Keys of the spec's metadata with their values: each must be there. Numbers and truth values are as JSON writes them.
    metadata: Sequence[tuple[str, str]] = ()


def add(connection: sqlite3.Connection, client_id: int, job_id: int, image: NewImage) -> None:
    """Keep a job's image as a final artifact and as an active entry, under one public id."""
    public_id = str(ULID())
    artifact = artifacts.add(connection, job_id, public_id, image.path, image.kind, image.label, image.meta)
    connection.execute(
        "INSERT INTO catalog"
        " (public_id, client_id, job_id, artifact_id, entry_type, status, scene_type, spec, description, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            public_id,
            client_id,
            job_id,
            artifact,
            image.entry_type,
            EntryStatus.ACTIVE,
            image.spec.get("scene_type"),
            as_json(image.spec),
            image.description,
            now(),
        ),
    )


def change(
    connection: sqlite3.Connection,
    client_id: int,
    entry_type: EntryType,
    public_id: str,
    *,
    status: EntryStatus | None = None,
    display_name: str | None = None,
    favourite: bool | None = None,
) -> EntryRow | None:
    """Change the client's entry and return it; None if it is unknown, of another type or another client's.

    What is None stays as it is.
    """
    found = entry(connection, client_id, entry_type, public_id)
    if found is None:
        return None
    name = found.spec["display_name"]
    new_name = name if display_name is None else display_name
    connection.execute(
        "UPDATE catalog SET status = :status, favourite = coalesce(:favourite, favourite), spec = :spec,"
        " description = :description,"
        " archived_at = CASE WHEN :status = 'archived' THEN coalesce(archived_at, :now) END"
        " WHERE public_id = :public_id",
        {
            "status": status or found.status,
            "favourite": favourite,
            "spec": as_json({**found.spec, "display_name": new_name}),
            "description": new_name + found.description.removeprefix(name),
            "now": now(),
            "public_id": public_id,
        },
    )
    return entry(connection, client_id, entry_type, public_id)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_FROM = (
    " FROM catalog JOIN artifacts ON artifacts.id = catalog.artifact_id JOIN jobs ON jobs.id = catalog.job_id"
    " WHERE catalog.client_id = ?"
)
_MADE = "SELECT count(*) FROM artifacts AS made WHERE made.job_id = catalog.job_id"
_ENTRIES = (
    "SELECT catalog.*, artifacts.meta, artifacts.path, jobs.public_id AS job,"
    f" ({_MADE} AND made.id <= artifacts.id) AS number, ({_MADE}) AS of{_FROM}"
)
#: The texts that a search looks in: those that people wrote, or that were made from theirs.
_TEXTS = (
    "json_extract(catalog.spec, '$.display_name')",
    "json_extract(catalog.spec, '$.scene_type')",
    "json_extract(catalog.spec, '$.mood')",
    "json_extract(catalog.spec, '$.prompt')",
    "json_extract(artifacts.meta, '$.prompt')",
)


def page(
    connection: sqlite3.Connection, client_id: int, entry_type: EntryType, only: Filter, limit: int, offset: int
) -> tuple[list[EntryRow], int]:
    """Return a page of a client's entries of one type, newest first, and how many there are on all pages."""
    conditions, values = _conditions(entry_type, only)
    # SQLite's own lower() knows ASCII alone.
    connection.create_function("casefold", 1, str.casefold, deterministic=True)
    if (wanted := only.color) is not None:
        connection.create_function("has_color", 1, lambda colors: _has_color(colors, wanted), deterministic=True)
    where = "".join(f" AND {condition}" for condition in conditions)
    rows = connection.execute(
        f"{_ENTRIES}{where} ORDER BY catalog.id DESC LIMIT ? OFFSET ?", (client_id, *values, limit, offset)
    )
    total = connection.execute(f"SELECT count(*) AS n{_FROM}{where}", (client_id, *values)).fetchone()["n"]
    return [_entry(row) for row in rows], int(total)


def entry(connection: sqlite3.Connection, client_id: int, entry_type: EntryType, public_id: str) -> EntryRow | None:
    """Return the client's entry; None if it is unknown, of another type or another client's."""
    row = connection.execute(
        f"{_ENTRIES} AND catalog.entry_type = ? AND catalog.public_id = ?", (client_id, entry_type, public_id)
    ).fetchone()
    return None if row is None else _entry(row)


def entries(connection: sqlite3.Connection, client_id: int, public_ids: Sequence[str]) -> list[EntryRow]:
    """Return those of these entries that are the client's, of any type, in the order of `public_ids`."""
    marks = ", ".join("?" * len(public_ids))
    rows = connection.execute(f"{_ENTRIES} AND catalog.public_id IN ({marks})", (client_id, *public_ids))
    found = {row["public_id"]: _entry(row) for row in rows}
    return [found[public_id] for public_id in dict.fromkeys(public_ids) if public_id in found]


def _conditions(entry_type: EntryType, only: Filter) -> tuple[list[str], list[Any]]:
    conditions: list[str] = ["catalog.entry_type = ?"]
    values: list[Any] = [entry_type]
    for condition, value in (
        ("catalog.scene_type = ?", only.scene_type),
        ("json_extract(catalog.spec, '$.mood') = ?", only.mood),
        ("catalog.status = ?", only.status),
        ("catalog.favourite = ?", only.favourite),
        ("json_extract(artifacts.meta, '$.model') = ?", only.model),
        ("jobs.public_id = ?", only.job),
        ("catalog.created_at > ?", only.created_after),
        ("catalog.created_at < ?", only.created_before),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if only.color is not None:
        conditions.append("has_color(json_extract(jobs.request, '$.dominant_colors'))")
    text = " || char(10) || ".join(f"coalesce({part}, '')" for part in _TEXTS)
    for word in only.words:
        conditions.append(f"instr(casefold({text}), ?)")
        values.append(word.casefold())
    for key, value in only.metadata:
        conditions.append(has_metadata("catalog.spec"))
        values += [key, value]
    return conditions, values


def _has_color(colors: str | None, wanted: Rgb) -> bool:
    """Return whether a colour like the wanted one is in a JSON array of colours as specs write them."""
    return any(is_alike(parse_color(color), wanted) for color in msgspec.json.decode(colors or "[]"))


def _entry(row: sqlite3.Row) -> EntryRow:
    return read(row, EntryRow, "spec", "meta")
