"""The studio page, the operator's desk, the OpenAPI pages. All of it comes from this server: a LAN may have no internet."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from litestar import Request, Response, Router, get
from litestar.connection import ASGIConnection
from litestar.datastructures import CacheControlHeader
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.response import File
from litestar.static_files import create_static_files_router

from server.api.not_modified import NotModified

STATIC = Path(__file__).parent.parent / "studio"
SWAGGER = Path(str(files("swagger_ui"))) / "static"

#: Bytes of a file's name at most, on Linux.
_LONGEST_NAME = 255

#: Nothing from elsewhere is loaded, and no other site may frame the page.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

#: The page of the API has scripts and styles within it, and a key is typed there.
SCHEMA_HEADERS = {
    **PAGE_HEADERS,
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
    "Vary": "Accept",
}

#: Its links are relative, since a proxy may serve all of this under a path of its own.
swagger = SwaggerRenderPlugin(
    path="/page",
    js_url="docs-assets/swagger-ui-bundle.js",
    css_url="docs-assets/swagger-ui.css",
    standalone_preset_js_url="docs-assets/swagger-ui-standalone-preset.js",
    favicon="<link rel='icon' href='static/icon.svg'>",
)


@get("/", include_in_schema=False, sync_to_thread=False, middleware=[NotModified()])
def studio_page(request: Request[Any, Any, Any]) -> Response[None] | File:
    return _redirect(request, is_folder=True) or _page("studio.html")


@get("/desk", include_in_schema=False, sync_to_thread=False, middleware=[NotModified()])
def desk_page(request: Request[Any, Any, Any]) -> Response[None] | File:
    return _redirect(request, is_folder=False) or _page("desk.html")


def _page(name: str) -> File:
    return File(STATIC / name, content_disposition_type="inline", media_type="text/html", headers=PAGE_HEADERS)


@get("/schema", include_in_schema=False, sync_to_thread=False)
def read_schema(request: Request[Any, Any, Any]) -> Response[Any]:
    """Return the OpenAPI 3.1 document as JSON; a browser gets the page that shows it."""
    if (elsewhere := _redirect(request, is_folder=False)) is not None:
        return elsewhere
    schema = request.app.openapi_schema.to_schema()
    if "text/html" in request.headers.get("Accept", ""):
        return Response(swagger.render(request, schema), media_type="text/html", headers=SCHEMA_HEADERS)
    return Response(schema, media_type="application/vnd.oai.openapi+json", headers={"Vary": "Accept"})


@get("/schema/openapi.json", include_in_schema=False, sync_to_thread=False)
def read_document(request: Request[Any, Any, Any]) -> Response[Any]:
    """Return the OpenAPI document as JSON, whatever the client accepts."""
    return Response(request.app.openapi_schema.to_schema(), media_type="application/json")


def _redirect(request: Request[Any, Any, Any], *, is_folder: bool) -> Response[None] | None:
    """Return a redirect to the path at which a page's relative links are right; None if the request is for that path.

    The studio page's path ends with a slash, that of BACKLOT_PUBLIC_URL included; those of the other pages do not.
    """
    # The raw path is the one that was asked for; Litestar strips slashes from `path`.
    path = request.scope["raw_path"].decode("latin-1")
    if path.endswith("/") == is_folder:
        return None
    location = f"{path}/" if is_folder else f"../{path.rstrip('/').rpartition('/')[2]}"
    return Response(None, status_code=308, headers={"Location": location})


async def can_be_a_file(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Raise NotFoundException for a path that no file can have; looking for it would raise other errors."""
    path = connection.scope["path"].encode(errors="replace")
    if b"\0" in path or any(len(name) > _LONGEST_NAME for name in path.split(b"/")):
        raise NotFoundException


ROUTES: list[HTTPRouteHandler | Router] = [
    studio_page,
    desk_page,
    read_schema,
    read_document,
    # The modules of the page belong together: after an upgrade a browser may not mix them.
    create_static_files_router(
        "/static",
        [STATIC],
        guards=[can_be_a_file],
        middleware=[NotModified()],
        include_in_schema=False,
        cache_control=CacheControlHeader(no_cache=True),
    ),
    create_static_files_router(
        "/docs-assets", [SWAGGER], guards=[can_be_a_file], middleware=[NotModified()], include_in_schema=False
    ),
]
