"""`/client/`: the client for Python and what it needs, for a LAN without internet. `scripts/setup` builds the wheels."""

import sys
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import File

from server.api.pages import PAGE_HEADERS
from server.errors import ResourceNotFound
from server.settings import Settings

WHEELS = Path(sys.prefix) / "share" / "backlot-client"


def _wheels() -> dict[str, Path]:
    return {path.name: path for path in sorted(WHEELS.glob("*.whl"))}


@get("/client", include_in_schema=False, sync_to_thread=True)
def list_wheels(request: Request[Any, Any, Any], settings: NamedDependency[Settings]) -> Response[str]:
    """Return a page with the lines to type; pip reads it as a list of links."""
    wheels = _wheels()
    own = next((name for name in wheels if name.startswith("backlot_client-")), None)
    if own is None:
        raise ResourceNotFound("This server has no wheel of its client; the operator makes it with ./scripts/setup run")
    base = f"{settings.public_url or str(request.base_url).rstrip('/')}/client"
    address = urlsplit(base)
    # pip uses a plain HTTP address only if it is told to trust it.
    trust = f" --trusted-host {address.netloc}" if address.scheme == "http" else ""
    links = "\n".join(f'<li><a href="{escape(f"{base}/{name}")}">{escape(name)}</a></li>' for name in wheels)
    page = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Backlot's client</title></head>
<body>
<h1>Backlot's client for Python</h1>
<p>With a package index:</p>
<pre>pip install {escape(f"{base}/{own}")}</pre>
<p>Without one, on the platform and the Python {sys.version_info.major}.{sys.version_info.minor} of this server:</p>
<pre>pip install --no-index{escape(trust)} --find-links {escape(base)}/ backlot-client</pre>
<ul>
{links}
</ul>
</body>
</html>
"""
    return Response(page, media_type="text/html", headers=PAGE_HEADERS)


@get("/client/{name:str}", include_in_schema=False, sync_to_thread=True)
def fetch_wheel(name: FromPath[str]) -> File:
    path = _wheels().get(name)
    if path is None:
        raise ResourceNotFound(f"There is no wheel {name[:100]!r}; /client/ lists those there are")
    return File(path, filename=name, media_type="application/zip")


ROUTES = [list_wheels, fetch_wheel]
