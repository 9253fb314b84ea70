"""`/v1/renders`, which is empty."""

from typing import Any

import msgspec
from litestar import Router, get
from litestar.params import FromPath

from server.api.jobs import Limit, Offset
from server.api.openapi import errors
from server.errors import ResourceNotFound


class RenderPage(msgspec.Struct, frozen=True):
    """Results of the compose and edit classes, of which this server has none: a generator's image is in the catalogue."""

    renders: list[dict[str, Any]]
    limit: int
    offset: int
    count: int
    total: int


@get(responses=errors(422), summary="List renders")
async def list_renders(limit: Limit = 50, offset: Offset = 0) -> RenderPage:
    """Return an empty page: renders come from the compose and edit classes, of which this server has none."""
    return RenderPage([], limit, offset, 0, 0)


@get("/{public_id:str}", responses=errors(404), summary="Read a render")
async def read_render(public_id: FromPath[str]) -> RenderPage:
    """Answer 404: a generator's image is in the catalogue."""
    raise ResourceNotFound(
        f"There is no render {public_id[:64]!r}; a generator's image is under /v1/catalog/backgrounds"
    )


ROUTER = Router("/renders", tags=["catalog"], route_handlers=[list_renders, read_render])
