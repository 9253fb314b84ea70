"""Every route has a rule of who may ask it, and every rule acts."""

from collections.abc import Iterator

import httpx
import pytest
from litestar.routes import HTTPRoute

from server.api.capabilities import RULES, Route
from server.app import routes
from server.event_hub import EventHub
from server.ledger.clients import Capability
from server.ledger.connection import migrate
from server.ledger.database import Database
from server.models_watch import ModelsFile
from server.settings import Settings
from tests.support.server import ROOT, ServerWithoutGpu

#: Routes that anybody may ask. An image's link is signed instead of authorised by a key.
OPEN: set[Route] = {
    ("GET", "/"),
    ("GET", "/desk"),
    ("GET", "/client"),
    ("GET", "/client/{name}"),
    ("GET", "/docs-assets/{file_path}"),
    ("GET", "/healthz"),
    ("GET", "/images/{name}"),
    ("GET", "/metrics"),
    ("GET", "/previews/{name}"),
    ("GET", "/readyz"),
    ("GET", "/schema"),
    ("GET", "/schema/openapi.json"),
    ("GET", "/static/{file_path}"),
    ("GET", "/thumbnails/{name}"),
}


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[Route]]:
    """Return the method and path of every route of the application."""
    settings = Settings(data=tmp_path_factory.mktemp("data"), models=ROOT / "models.toml")
    migrate(settings.database)
    database = Database(settings.database)
    app = routes(settings, ModelsFile(settings.models), database, EventHub(), [], "http://backlot")
    yield {
        (method, route.path_format)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
        # The framework answers these methods and these pages itself.
        if method not in ("OPTIONS", "HEAD") and not route.path.startswith("/openapi")
    }
    database.close()


def test_every_route_has_a_rule_and_every_rule_a_route(declared: set[Route]) -> None:
    assert declared == RULES.keys() | OPEN
    assert not RULES.keys() & OPEN
    assert all(path.startswith("/v1/") for _, path in RULES)
    assert not any(path.startswith("/v1/") for _, path in OPEN)


@pytest.fixture(scope="module")
def keys(light_server: ServerWithoutGpu) -> dict[Capability, httpx.Client]:
    """Return a client for each capability, whose key has that capability alone."""
    made = {
        capability: light_server.backlot("keys", "add", "studio", "--capability", capability).stdout.strip()
        for capability in Capability
    }
    return {capability: light_server.client_of(key) for capability, key in made.items()}


@pytest.mark.parametrize(
    ("route", "needed"), RULES.items(), ids=lambda part: " ".join(part) if isinstance(part, tuple) else ""
)
def test_a_rule_acts(
    light_server: ServerWithoutGpu, keys: dict[Capability, httpx.Client], route: Route, needed: Capability
) -> None:
    method, path = route
    url = path.replace("{public_id}", "01J00000000000000000000000").replace("{name}", "nobody").replace("{key}", "none")
    for capability, client in keys.items():
        answer = client.request(method, url, content=b"{}" if method != "GET" else None)
        refused = answer.status_code == 403
        assert refused == (capability != needed), (capability, answer.text)
    assert httpx.request(method, light_server.url + url).status_code == 401


@pytest.mark.parametrize("route", sorted(OPEN), ids=" ".join)
def test_what_is_open_needs_no_key(light_server: ServerWithoutGpu, route: Route) -> None:
    method, path = route
    url = path.replace("{file_path}", "studio.css").replace("{name}", "x.png")
    assert httpx.request(method, light_server.url + url).status_code not in (401, 403)
