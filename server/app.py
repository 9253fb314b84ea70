"""The application: everything is made here, once, and handed to the routes by name."""

from collections.abc import Sequence
from typing import Any

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ASGIApp

from server.api import (
    admin,
    archive,
    billing,
    catalog,
    client_wheels,
    events,
    health,
    images,
    jobs,
    openai,
    openapi,
    pages,
    renders,
    workflows,
)
from server.api import models as model_routes
from server.api.auth import Authentication
from server.api.capabilities import Capabilities
from server.api.errors import error_response
from server.api.head import HeadAsGet
from server.api.job_reader import JobReader
from server.api.links import Links
from server.api.proxies import Proxies
from server.api.query import check_query
from server.api.rate_limit import RateLimit
from server.api.request_log import RequestLog
from server.api.views import Linker
from server.disk_room import DiskRoom
from server.event_hub import EventHub
from server.image_files import ImageFiles
from server.keys import load_secret
from server.ledger.database import Database
from server.lifespan import running
from server.models_watch import ModelsFile
from server.scheduler.devices import Device
from server.scheduler.scheduler import Scheduler
from server.settings import Settings
from server.thumbnails import Thumbnails
from server.webhooks.sender import WebhookSender
from server.workflows.intake import Intake
from server.workflows.registry import WORKFLOWS, result_of

MAX_BODY = 1024 * 1024


def layered(app: Litestar, settings: Settings, database: Database) -> ASGIApp:
    """Return the routes with the layers around them."""
    return Proxies(RequestLog(HeadAsGet(app), database), settings.trusted_proxies, settings.public_url)


def routes(
    settings: Settings,
    models: ModelsFile,
    database: Database,
    hub: EventHub,
    devices: Sequence[Device],
    own_url: str,
) -> Litestar:
    """Return the routes and what they share. Their lifespan runs the scheduler, with a GPU process on each device.

    `own_url` is where others find this server; image links in webhooks begin with it unless a public URL is set.
    """
    links = Links(load_secret(settings.links_key), settings.link_seconds)
    thumbnails = Thumbnails(settings.images, settings.thumbnails)
    image_files = ImageFiles(database, settings.images, thumbnails)
    disk = DiskRoom(settings, database.reserve)
    scheduler = Scheduler(settings, models, database, hub, result_of, devices)
    intake = Intake(models, database, scheduler, disk)
    sender = WebhookSender(database, Linker(links, settings.public_url or own_url))

    def provide_linker(request: Request[Any, Any, Any]) -> Linker:
        # Without a public URL, links begin with the address that this request came to, which its client can reach.
        return Linker(links, settings.public_url or str(request.base_url).rstrip("/"))

    def provide_reader(request: Request[Any, Any, Any]) -> JobReader:
        return JobReader(database, scheduler, hub, provide_linker(request))

    v1 = Router(
        "/v1",
        route_handlers=[
            *workflows.ROUTES,
            *openai.ROUTES,
            jobs.ROUTER,
            *events.ROUTES,
            catalog.ROUTER,
            *archive.ROUTES,
            renders.ROUTER,
            billing.ROUTER,
            *model_routes.ROUTES,
            admin.ROUTER,
        ],
        middleware=[Authentication(), RateLimit(settings.rate_limit, settings.read_limit), Capabilities()],
        security=[{"key": []}],
    )
    app = Litestar(
        route_handlers=[
            v1,
            *images.ROUTES,
            health.ROUTER,
            *pages.ROUTES,
            *client_wheels.ROUTES,
        ],
        lifespan=[lambda _: running(settings, models, database, disk, image_files, scheduler, sender)],
        # The middleware finds the database here. Litestar copies middleware, so it can hold nothing itself.
        state=State({"database": database}),
        dependencies={
            "settings": _given(settings),
            "models": Provide(lambda: models.current, sync_to_thread=False),
            "models_file": _given(models),
            "database": _given(database),
            "disk": _given(disk),
            "hub": _given(hub),
            "links": _given(links),
            "thumbnails": _given(thumbnails),
            "image_files": _given(image_files),
            "scheduler": _given(scheduler),
            "intake": _given(intake),
            "linker": Provide(provide_linker, sync_to_thread=False),
            "reader": Provide(provide_reader, sync_to_thread=False),
        },
        before_request=check_query,
        exception_handlers={Exception: error_response},
        request_max_body_size=MAX_BODY,
        openapi_config=openapi.config(pages.swagger, settings.public_url),
        logging_config=None,
    )
    openapi.complete(
        app,
        bodies={
            "/v1/images/generations": openai.ImagesBody,
            **admin.BODIES,
            "/v1/catalog/archive.zip": archive.ArchiveBody,
            "/v1/catalog/backgrounds/{public_id}": catalog.EntryChange,
            "/v1/catalog/images/{public_id}": catalog.EntryChange,
            **{f"/v1/{workflow.job_type.operation}": workflow.spec for workflow in WORKFLOWS.values()},
        },
        never_found={"/v1/renders/{public_id}"},
        files={
            "/images/{name}": "image/png",
            "/thumbnails/{name}": "image/webp",
            "/previews/{name}": "image/webp",
            "/v1/catalog/archive.zip": "application/zip",
        },
    )
    return app


def _given(value: object) -> Provide:
    """Return the dependency that is this object, the same for every request."""
    return Provide(lambda: value, sync_to_thread=False)
