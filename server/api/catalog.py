"""`/v1/catalog` and `/v1/renders`, and the images behind signed links."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import File

from server.api import views
from server.api.jobs import Limit, Offset
from server.api.links import Links
from server.api.openapi import errors
from server.api.views import BackgroundEntry, ImageEntry, Linker
from server.errors import ErrorEnvelope, Invalid, ResourceNotFound, ValidationEnvelope
from server.ledger import catalog
from server.ledger.catalog import EntryRow, EntryStatus, EntryType
from server.ledger.clients import Caller
from server.ledger.database import Database
from server.settings import Settings
from server.validation import Problem


class RenderPage(msgspec.Struct, frozen=True):
    """Results of the compose and edit classes, of which this server has none: a generator's image is in the catalogue."""

    renders: list[dict[str, Any]]
    limit: int
    offset: int
    count: int
    total: int


Status = Annotated[EntryStatus | None, QueryParameter()]


@get(
    "/catalog/backgrounds",
    responses=errors(422),
    summary="List backgrounds",
    tags=["catalog"],
)
async def list_backgrounds(
    request: Request[Caller, Any, Any],
    database: NamedDependency[Database],
    linker: NamedDependency[Linker],
    scene_type: Annotated[str | None, QueryParameter(description="As the spec wrote it")] = None,
    status: Status = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[BackgroundEntry]:
    """List the client's backgrounds, newest first."""
    client_id = request.user.client_id
    rows = await database.read(
        lambda connection: catalog.entries(
            connection, client_id, EntryType.BACKGROUND, scene_type, status, limit, offset
        )
    )
    return [views.background(row, linker) for row in rows]


@get(
    "/catalog/backgrounds/{public_id:str}",
    responses=errors(404),
    summary="Read a background",
    tags=["catalog"],
)
async def read_background(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    database: NamedDependency[Database],
    linker: NamedDependency[Linker],
) -> BackgroundEntry:
    return views.background(await _entry(request.user, EntryType.BACKGROUND, public_id, database), linker)


@get(
    "/catalog/images",
    responses=errors(422),
    summary="List images",
    tags=["catalog"],
)
async def list_images(
    request: Request[Caller, Any, Any],
    database: NamedDependency[Database],
    linker: NamedDependency[Linker],
    status: Status = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[ImageEntry]:
    """List the client's images, newest first: one entry for each image of a job."""
    client_id = request.user.client_id
    rows = await database.read(
        lambda connection: catalog.entries(connection, client_id, EntryType.IMAGE, None, status, limit, offset)
    )
    return [views.image(row, linker) for row in rows]


@get(
    "/catalog/images/{public_id:str}",
    responses=errors(404),
    summary="Read an image's entry",
    tags=["catalog"],
)
async def read_image(
    request: Request[Caller, Any, Any],
    public_id: FromPath[str],
    database: NamedDependency[Database],
    linker: NamedDependency[Linker],
) -> ImageEntry:
    return views.image(await _entry(request.user, EntryType.IMAGE, public_id, database), linker)


async def _entry(caller: Caller, entry_type: EntryType, public_id: str, database: Database) -> EntryRow:
    """Return the caller's entry. Raises ResourceNotFound."""
    row = await database.read(lambda connection: catalog.entry(connection, caller.client_id, entry_type, public_id))
    if row is None:
        raise ResourceNotFound(f"There is no {entry_type} {public_id[:64]!r} in this client's catalogue")
    return row


@get("/renders", responses=errors(422), summary="List renders", tags=["catalog"])
async def list_renders(limit: Limit = 50, offset: Offset = 0) -> RenderPage:
    """Return an empty page: renders come from the compose and edit classes, of which this server has none."""
    return RenderPage([], limit, offset, 0, 0)


@get("/renders/{public_id:str}", responses=errors(404), summary="Read a render", tags=["catalog"])
async def read_render(public_id: FromPath[str]) -> RenderPage:
    """Answer 404: a generator's image is in the catalogue."""
    raise ResourceNotFound(
        f"There is no render {public_id[:64]!r}; a generator's image is under /v1/catalog/backgrounds"
    )


async def link_is_whole(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Raise Invalid with every missing part of a link; Litestar's own check stops at the first it happens to look at."""
    missing = [part for part in ("expires", "signature") if part not in connection.query_params]
    if missing:
        message = "This part of the link is missing: use image_url as the job or the catalogue gives it"
        raise Invalid([Problem(("query", part), "missing", message) for part in missing])


@get(
    "/images/{name:str}",
    guards=[link_is_whole],
    summary="Fetch an image by its signed link",
    tags=["catalog"],
    media_type="image/png",
    responses={
        403: ResponseSpec(ErrorEnvelope, generate_examples=False, description="The link is not good, or no longer"),
        404: ResponseSpec(ErrorEnvelope, generate_examples=False, description="There is no such image"),
        422: ResponseSpec(ValidationEnvelope, generate_examples=False, description="A part of the link is missing"),
    },
)
async def fetch_image(
    name: FromPath[str],
    links: NamedDependency[Links],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    expires: FromQuery[int],
    signature: FromQuery[str],
) -> Response[Any]:
    """Return the PNG. The link needs no key."""
    artifact = name.removesuffix(".png")
    links.check(artifact, expires, signature)
    path = await database.read(lambda connection: catalog.artifact_path(connection, artifact))
    if path is None or not (settings.images / path).is_file():
        raise ResourceNotFound(f"The image {name!r} is no longer on this server")
    return File(
        settings.images / path,
        filename=name,
        content_disposition_type="inline",
        media_type="image/png",
        headers={"Cache-Control": "private, max-age=3600, immutable", "X-Content-Type-Options": "nosniff"},
    )
