"""The files behind signed links: images, their thumbnails, and previews."""

import asyncio
import logging
from typing import Any
from urllib.parse import quote

from litestar import Response, get
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response import File

from pipelines.origin import with_origin
from server.api.links import LinkKind, Links
from server.api.not_modified import NotModified
from server.api.openapi import answer
from server.errors import ErrorEnvelope, Invalid, ResourceNotFound, ValidationEnvelope
from server.file_names import file_name
from server.ledger import artifacts
from server.ledger.artifacts import ImageFile
from server.ledger.database import Database
from server.previews import preview_file
from server.settings import Settings
from server.thumbnails import Thumbnails
from server.validation import Problem

log = logging.getLogger(__name__)

_HEADERS = {"Cache-Control": "private, max-age=3600, immutable", "X-Content-Type-Options": "nosniff"}
_ERRORS = {
    403: answer(ErrorEnvelope, "The link is not good, or no longer"),
    404: answer(ErrorEnvelope, "There is no such image"),
    422: answer(ValidationEnvelope, "A part of the link is missing"),
}


async def link_is_whole(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Raise Invalid with every missing part of a link; Litestar's own check stops at the first it happens to look at."""
    missing = [part for part in ("expires", "signature") if part not in connection.query_params]
    if missing:
        message = "This part of the link is missing: use image_url as the job or the catalogue gives it"
        raise Invalid([Problem(("query", part), "missing", message) for part in missing])


@get(
    "/images/{name:str}",
    guards=[link_is_whole],
    middleware=[NotModified()],
    summary="Fetch an image by its signed link",
    tags=["catalog"],
    media_type="image/png",
    responses=_ERRORS,
)
async def fetch_image(
    name: FromPath[str],
    links: NamedDependency[Links],
    database: NamedDependency[Database],
    settings: NamedDependency[Settings],
    expires: FromQuery[int],
    signature: FromQuery[str],
    save: FromQuery[bool] = False,
) -> Response[Any]:
    """Return the PNG under its display name; with `save=true` a copy that names its job. The link needs no key."""
    found = await _linked(links.check(LinkKind.IMAGE, name, expires, signature), name, database)
    if not (settings.images / found.path).is_file():
        raise _gone(name)
    if save:
        try:
            png = await asyncio.to_thread((settings.images / found.path).read_bytes)
        except FileNotFoundError:
            # The image was removed after the look above.
            raise _gone(name) from None
        name = quote(file_name(found.display_name))
        headers = {**_HEADERS, "Content-Disposition": f"attachment; filename*=utf-8''{name}"}
        return Response(with_origin(png, found.origin), media_type="image/png", headers=headers)
    return File(
        settings.images / found.path,
        filename=file_name(found.display_name),
        content_disposition_type="inline",
        media_type="image/png",
        headers=_HEADERS,
    )


@get(
    "/thumbnails/{name:str}",
    guards=[link_is_whole],
    summary="Fetch a thumbnail by its signed link",
    tags=["catalog"],
    media_type="image/webp",
    responses=_ERRORS,
)
async def fetch_thumbnail(
    name: FromPath[str],
    links: NamedDependency[Links],
    database: NamedDependency[Database],
    thumbnails: NamedDependency[Thumbnails],
    expires: FromQuery[int],
    signature: FromQuery[str],
    large: FromQuery[bool] = False,
) -> Response[bytes]:
    """Return the WebP, whose longest side is 384 pixels at most; with `large=true` 768. The link needs no key."""
    found = await _linked(links.check(LinkKind.THUMBNAIL, name, expires, signature), name, database)
    try:
        webp = await thumbnails.read(found.path, large=large)
    except FileNotFoundError:
        raise _gone(name) from None
    except OSError as error:
        log.warning("The image %s cannot be read: %s", found.path, error)
        raise ResourceNotFound(f"The image of {name[:64]!r} is damaged; tell the operator") from None
    return Response(webp, media_type="image/webp", headers=_HEADERS)


@get(
    "/previews/{name:str}",
    guards=[link_is_whole],
    summary="Fetch a preview by its signed link",
    tags=["jobs"],
    media_type="image/webp",
    responses=_ERRORS,
)
async def fetch_preview(
    name: FromPath[str],
    links: NamedDependency[Links],
    settings: NamedDependency[Settings],
    expires: FromQuery[int],
    signature: FromQuery[str],
) -> Response[bytes]:
    """Return the WebP of the latest step, whose longest side is 384 pixels at most; it is gone when the job has ended."""
    image_id, _, _ = links.check(LinkKind.PREVIEW, name, expires, signature).partition(".")
    try:
        webp = await asyncio.to_thread(preview_file(settings.previews, image_id).read_bytes)
    except FileNotFoundError:
        raise ResourceNotFound(f"There is no preview {name[:64]!r} any more: its image was finished") from None
    headers = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}
    return Response(webp, media_type="image/webp", headers=headers)


async def _linked(artifact: str, name: str, database: Database) -> ImageFile:
    found = await database.read(artifacts.image_file, artifact)
    if found is None:
        raise _gone(name)
    return found


def _gone(name: str) -> ResourceNotFound:
    return ResourceNotFound(f"The image {name[:64]!r} is no longer on this server")


ROUTES = [fetch_image, fetch_thumbnail, fetch_preview]
