"""`/v1/catalog`: list, read, change and remove what a client keeps."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, delete, get, patch
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from pipelines.colors import Rgb, parse_color
from server import metrics
from server.api import views
from server.api.bodies import decode_body
from server.api.jobs import Limit, Offset
from server.api.metadata import Metadata, metadata_pairs
from server.api.openapi import answer, errors
from server.api.views import BackgroundEntry, ImageEntry, Linker
from server.clock import as_text
from server.errors import Invalid, ResourceNotFound
from server.image_files import ImageFiles
from server.ledger import catalog, removals
from server.ledger.catalog import EntryRow, EntryStatus, EntryType, Filter
from server.ledger.clients import Caller
from server.ledger.database import Database
from server.validation import Problem, check, within
from server.workflows.spec import MAX_TEXT, length_problem

TOTAL = "X-Total-Count"
_TOTAL_HEADER = ResponseHeader(
    name=TOTAL, documentation_only=True, description="How many entries there are on all pages", required=True
)


class EntryChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of an entry. Fields that are left out stay as they are."""

    status: EntryStatus | UnsetType = UNSET
    display_name: Annotated[str, Meta(description="1–200 characters after trimming")] | UnsetType = UNSET
    favourite: bool | UnsetType = UNSET


SceneType = Annotated[str | None, QueryParameter(description="As the spec wrote it")]
Mood = Annotated[str | None, QueryParameter(description="As the spec wrote it")]
Color = Annotated[
    str | None, QueryParameter(description="A CSS colour name, #rgb or #rrggbb: a colour of its family was asked for")
]
Status = Annotated[EntryStatus | None, QueryParameter()]
Favourite = Annotated[bool | None, QueryParameter(description="Only favourites, or only others")]
Search = Annotated[
    str | None,
    QueryParameter(
        max_length=MAX_TEXT,
        description="Words that are all in the name, the scene, the mood or the prompt, in any case",
    ),
]
Model = Annotated[str | None, QueryParameter(description="The name of the model that made it")]
OfJob = Annotated[str | None, QueryParameter(description="The public id of the job that made it")]
After = Annotated[datetime | None, QueryParameter(description="Exclusive")]
Before = Annotated[datetime | None, QueryParameter(description="Exclusive")]


@get(
    "/backgrounds",
    responses={**errors(422), 200: answer(list[BackgroundEntry], "A page of them")},
    response_headers=[_TOTAL_HEADER],
    summary="List backgrounds",
)
async def list_backgrounds(
    request: Request[Caller, Any, Any],
    database: NamedDependency[Database],
    linker: NamedDependency[Linker],
    scene_type: SceneType = None,
    mood: Mood = None,
    color: Color = None,
    status: Status = None,
    favourite: Favourite = None,
    q: Search = None,
    model: Model = None,
    job: OfJob = None,
    metadata: Metadata = None,
    created_after: After = None,
    created_before: Before = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Response[list[BackgroundEntry]]:
    """List the client's backgrounds, newest first."""
    only = Filter(
        scene_type=scene_type,
        mood=mood,
        color=_color(color),
        status=status,
        favourite=favourite,
        model=model,
        job=job,
        created_after=_time(created_after),
        created_before=_time(created_before),
        words=(q or "").split(),
        metadata=metadata_pairs(metadata),
    )
    rows, total = await database.read(catalog.page, request.user.client_id, EntryType.BACKGROUND, only, limit, offset)
    return Response([views.background(row, linker) for row in rows], headers={TOTAL: str(total)})


@get(
    "/images",
    responses={**errors(422), 200: answer(list[ImageEntry], "A page of them")},
    response_headers=[_TOTAL_HEADER],
    summary="List images",
)
async def list_images(
    request: Request[Caller, Any, Any],
    database: NamedDependency[Database],
    linker: NamedDependency[Linker],
    color: Color = None,
    status: Status = None,
    favourite: Favourite = None,
    q: Search = None,
    model: Model = None,
    job: OfJob = None,
    metadata: Metadata = None,
    created_after: After = None,
    created_before: Before = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Response[list[ImageEntry]]:
    """List the client's images, newest first: one entry for each image of a job."""
    only = Filter(
        color=_color(color),
        status=status,
        favourite=favourite,
        model=model,
        job=job,
        created_after=_time(created_after),
        created_before=_time(created_before),
        words=(q or "").split(),
        metadata=metadata_pairs(metadata),
    )
    rows, total = await database.read(catalog.page, request.user.client_id, EntryType.IMAGE, only, limit, offset)
    return Response([views.image(row, linker) for row in rows], headers={TOTAL: str(total)})


@get("/backgrounds/{public_id:str}", responses=errors(404), summary="Read a background")
async def read_background(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    database: NamedDependency[Database],
    linker: NamedDependency[Linker],
) -> BackgroundEntry:
    return views.background(await _entry(request.user, EntryType.BACKGROUND, public_id, database), linker)


@get("/images/{public_id:str}", responses=errors(404), summary="Read an image's entry")
async def read_image(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    database: NamedDependency[Database],
    linker: NamedDependency[Linker],
) -> ImageEntry:
    return views.image(await _entry(request.user, EntryType.IMAGE, public_id, database), linker)


@patch(
    "/backgrounds/{public_id:str}",
    responses=errors(404, 413, 422, 503),
    summary="Rename, archive or favour a background",
)
async def change_background(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    database: NamedDependency[Database],
    linker: NamedDependency[Linker],
) -> BackgroundEntry:
    return views.background(await _change(request, EntryType.BACKGROUND, public_id, database), linker)


@patch("/images/{public_id:str}", responses=errors(404, 413, 422, 503), summary="Rename, archive or favour an image")
async def change_image(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    database: NamedDependency[Database],
    linker: NamedDependency[Linker],
) -> ImageEntry:
    return views.image(await _change(request, EntryType.IMAGE, public_id, database), linker)


@delete("/backgrounds/{public_id:str}", responses=errors(404, 503), summary="Remove a background and its file")
async def delete_background(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    database: NamedDependency[Database],
    image_files: NamedDependency[ImageFiles],
) -> None:
    """Remove the entry and its file. Its job keeps all it takes to make the image again; credits do not move."""
    await _delete(request.user, EntryType.BACKGROUND, public_id, database, image_files)


@delete("/images/{public_id:str}", responses=errors(404, 503), summary="Remove an image and its file")
async def delete_image(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    database: NamedDependency[Database],
    image_files: NamedDependency[ImageFiles],
) -> None:
    """Remove the entry and its file. Its job keeps all it takes to make the image again; credits do not move."""
    await _delete(request.user, EntryType.IMAGE, public_id, database, image_files)


def _color(written: str | None) -> Rgb | None:
    """Return the colour that a query names. Raises Invalid."""
    try:
        return None if written is None else parse_color(written)
    except ValueError as error:
        raise Invalid([Problem(("query", "color"), "value_error", str(error))]) from None


async def _entry(caller: Caller, entry_type: EntryType, public_id: str, database: Database) -> EntryRow:
    """Return the caller's entry. Raises ResourceNotFound."""
    row = await database.read(catalog.entry, caller.client_id, entry_type, public_id)
    if row is None:
        raise _unknown(entry_type, public_id)
    return row


async def _change(
    request: Request[Caller, Any, Any], entry_type: EntryType, public_id: str, database: Database
) -> EntryRow:
    """Change the caller's entry as the body says, and return it. Raises Invalid and ResourceNotFound."""
    values, problems = check(decode_body(await request.body()), EntryChange)
    if "display_name" in values:
        values["display_name"] = values["display_name"].strip()
        problems += length_problem("display_name", values["display_name"], MAX_TEXT)
    if problems:
        raise Invalid(within("body", problems))
    row = await database.write(catalog.change, request.user.client_id, entry_type, public_id, **values)
    if row is None:
        raise _unknown(entry_type, public_id)
    return row


async def _delete(
    caller: Caller, entry_type: EntryType, public_id: str, database: Database, image_files: ImageFiles
) -> None:
    """Remove the caller's entry and its file. Raises ResourceNotFound."""
    removed = await database.write(removals.remove, caller.client_id, entry_type, public_id)
    if not removed:
        raise _unknown(entry_type, public_id)
    metrics.images_removed.labels("client").inc()
    await image_files.remove_listed()


def _unknown(entry_type: EntryType, public_id: str) -> ResourceNotFound:
    return ResourceNotFound(f"There is no {entry_type} {public_id[:64]!r} in this client's catalogue")


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else as_text(moment)


ROUTER = Router(
    "/catalog",
    tags=["catalog"],
    route_handlers=[
        list_backgrounds,
        read_background,
        list_images,
        read_image,
        change_background,
        change_image,
        delete_background,
        delete_image,
    ],
)
