"""`POST /v1/catalog/archive.zip`: many images of the catalogue in one file."""

import csv
import io
import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.response import Stream
from msgspec import Meta

from pipelines.origin import Origin, with_origin
from server.api.bodies import read_body
from server.api.openapi import errors
from server.errors import ResourceNotFound
from server.file_names import numbered
from server.ledger import catalog
from server.ledger.catalog import EntryRow
from server.ledger.clients import Caller
from server.ledger.database import Database
from server.settings import Settings

log = logging.getLogger(__name__)

#: Entries in an archive at most.
MOST = 500
_META = ("model", "seed", "width", "height", "steps", "guidance", "prompt")
_SPEC = ("display_name", "scene_type", "mood", "dominant_colors", "metadata")


class ArchiveBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The entries to put into an archive, of both parts of the catalogue."""

    public_ids: Annotated[list[str], Meta(min_length=1, max_length=MOST, description="1–500 entries")]


@post(
    "/catalog/archive.zip",
    status_code=200,
    responses=errors(404, 413, 422),
    summary="Download many images as one zip file",
    tags=["catalog"],
    media_type="application/zip",
)
async def download_archive(
    request: Request[Caller, Any, Any],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
) -> Stream:
    """Return a zip file with the PNGs under their display names, and `specs.csv` with what each was made from."""
    wanted = (await read_body(request, ArchiveBody)).public_ids
    rows = await database.read(catalog.entries, request.user.client_id, wanted)
    missing = set(wanted) - {row.public_id for row in rows}
    if missing:
        first = next(public_id for public_id in wanted if public_id in missing)
        raise ResourceNotFound(
            f"{len(missing)} of these entries are not in this client's catalogue; the first is {first[:64]!r}"
        )
    return Stream(
        zipped(rows, settings.images),
        media_type="application/zip",
        headers={"Content-Disposition": 'attachment; filename="backlot.zip"'},
    )


class _Sink(io.RawIOBase):
    """Holds what ZipFile writes until it is sent. It cannot seek, so ZipFile writes sizes behind the files."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken = bytes(self._written)
        self._written.clear()
        return taken


def zipped(rows: Sequence[EntryRow], images: Path) -> Iterator[bytes]:
    """Yield a zip file piece by piece. An image that is removed meanwhile is left out, and has no `file` in `specs.csv`."""
    sink = _Sink()
    names = numbered(map(_name, rows))
    with ZipFile(sink, "w", ZIP_STORED) as archive:
        for index, row in enumerate(rows):
            try:
                png = (images / row.path).read_bytes()
            except FileNotFoundError:
                log.warning("%s of entry %s was gone before it was in the archive", row.path, row.public_id)
                names[index] = ""
                continue
            spec = row.spec
            origin = Origin(row.job, spec["display_name"], spec.get("scene_type"), spec.get("mood"))
            archive.writestr(_member(names[index], row), with_origin(png, origin))
            yield sink.take()
        archive.writestr("specs.csv", _table(rows, names))
    yield sink.take()


def _name(row: EntryRow) -> str:
    """Return an image's name, with its number if its job made several."""
    name: str = row.spec["display_name"]
    return name if row.of == 1 else f"{name} {row.number} of {row.of}"


def _member(name: str, row: EntryRow) -> ZipInfo:
    """Return an image's header in the archive, which stores it as it is: PNGs do not get smaller."""
    made = datetime.fromisoformat(row.created_at)
    return ZipInfo(name, (max(made.year, 1980), made.month, made.day, made.hour, made.minute, made.second))


def _table(rows: Sequence[EntryRow], names: Sequence[str]) -> str:
    """Return `specs.csv`, with a byte order mark by which spreadsheets know UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["file", "public_id", "job", "created_at", *_SPEC, *_META])
    for name, row in zip(names, rows, strict=True):
        spec = {**row.spec, "dominant_colors": " ".join(row.spec.get("dominant_colors", []))}
        spec["metadata"] = msgspec.json.encode(row.spec["metadata"]).decode()
        made = [spec.get(field, "") for field in _SPEC] + [row.meta.get(field, "") for field in _META]
        writer.writerow([name, row.public_id, row.job, row.created_at, *map(_cell, made)])
    return "\ufeff" + text.getvalue()


def _cell(value: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would compute (OWASP, CSV injection); return other values."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


ROUTES = [download_archive]
