"""The application: everything is made here, once, and handed to the routes by name."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ASGIApp

from server import leftovers, previews
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
from server.api.capabilities import allowed
from server.api.errors import error_response
from server.api.head import HeadAsGet
from server.api.links import Links
from server.api.proxies import Proxies
from server.api.query import check_query
from server.api.rate_limit import RateLimit
from server.api.request_log import RequestLog
from server.api.views import Linker
from server.clock import ago
from server.disk_room import DiskRoom
from server.keys import load_secret
from server.ledger import jobs as job_ledger
from server.ledger import request_log, webhooks
from server.ledger.database import Database
from server.models_watch import ModelsFile
from server.retention import Retention
from server.scheduler.devices import Device
from server.scheduler.event_hub import EventHub
from server.scheduler.scheduler import Scheduler
from server.settings import Settings
from server.thumbnails import Thumbnails
from server.webhooks.sender import WebhookSender
from server.workflows.registry import WORKFLOWS, deliver

log = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024
FORGET_EVERY_S = 6 * 3600.0


def create_app(
    settings: Settings,
    models: ModelsFile,
    database: Database,
    hub: EventHub,
    devices: Sequence[Device],
    own_url: str,
) -> ASGIApp:
    """Return the ASGI application. Its lifespan starts and stops the scheduler, with a GPU process on each device.

    `own_url` is where others find this server; image links in webhooks begin with it unless a public URL is set.
    """
    app = routes(settings, models, database, hub, devices, own_url)
    return Proxies(RequestLog(HeadAsGet(app), database), settings.trusted_proxies, settings.public_url)


def routes(
    settings: Settings,
    models: ModelsFile,
    database: Database,
    hub: EventHub,
    devices: Sequence[Device],
    own_url: str,
) -> Litestar:
    """Return the routes and what they share, without the layers around them."""
    links = Links(load_secret(settings.links_key), settings.link_seconds)
    thumbnails = Thumbnails(settings.images, settings.thumbnails)
    disk = DiskRoom(settings, database.reserve)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        scheduler = Scheduler(settings, models, database, hub, deliver, devices)
        app.state.scheduler = scheduler
        disk.take_reserve()
        previews.remove_all(settings.previews)
        await scheduler.start()
        beside = [
            asyncio.create_task(_forget(database, settings.log_days)),
            asyncio.create_task(models.watch(scheduler.models_changed)),
            asyncio.create_task(disk.watch(lambda: leftovers.remove_all(settings.images, database))),
            asyncio.create_task(Retention(settings, database, thumbnails).run()),
            asyncio.create_task(scheduler.control.follow_command()),
            asyncio.create_task(leftovers.remove_all(settings.images, database)),
        ]
        if settings.ray:
            # Imported only here: without the setting nothing of Ray is.
            from server.cluster.membership import Membership

            beside.append(asyncio.create_task(Membership(settings).keep(scheduler.gpus)))
        sender = asyncio.create_task(WebhookSender(database, Linker(links, settings.public_url or own_url)).run())
        try:
            yield
        finally:
            for task in (*beside, sender):
                task.cancel()
            await scheduler.stop()
            await asyncio.wait([sender])
            thumbnails.close()

    def provide_scheduler(state: State) -> Scheduler:
        scheduler: Scheduler = state.scheduler
        return scheduler

    def provide_linker(request: Request[Any, Any, Any]) -> Linker:
        # Without a public URL, links begin as the address that this request came to: it reaches this server from there.
        return Linker(links, settings.public_url or str(request.base_url).rstrip("/"))

    v1 = Router(
        "/v1",
        route_handlers=[
            *workflows.ROUTES,
            openai.create_images,
            jobs.list_jobs,
            jobs.read_job,
            jobs.read_events,
            jobs.cancel_job,
            workflows.retry_job,
            events.list_events,
            catalog.list_backgrounds,
            catalog.read_background,
            catalog.list_images,
            catalog.read_image,
            catalog.change_background,
            catalog.change_image,
            catalog.delete_background,
            catalog.delete_image,
            archive.download_archive,
            renders.list_renders,
            renders.read_render,
            billing.list_operations,
            billing.read_credits,
            billing.list_transactions,
            billing.read_usage,
            model_routes.list_models,
            *admin.ROUTES,
        ],
        guards=[allowed],
        middleware=[Authentication(), RateLimit(settings.rate_limit, settings.read_limit)],
        security=[{"key": []}],
    )
    app = Litestar(
        route_handlers=[
            v1,
            images.fetch_image,
            images.fetch_thumbnail,
            images.fetch_preview,
            health.read_health,
            health.read_readiness,
            health.read_metrics,
            pages.studio_page,
            pages.desk_page,
            pages.read_schema,
            pages.read_document,
            client_wheels.list_wheels,
            client_wheels.fetch_wheel,
            *pages.static_routers(),
        ],
        lifespan=[lifespan],
        state=State({"database": database}),
        dependencies={
            "settings": Provide(lambda: settings, sync_to_thread=False),
            "models": Provide(lambda: models.current, sync_to_thread=False),
            "models_file": Provide(lambda: models, sync_to_thread=False),
            "database": Provide(lambda: database, sync_to_thread=False),
            "disk": Provide(lambda: disk, sync_to_thread=False),
            "hub": Provide(lambda: hub, sync_to_thread=False),
            "links": Provide(lambda: links, sync_to_thread=False),
            "thumbnails": Provide(lambda: thumbnails, sync_to_thread=False),
            "scheduler": Provide(provide_scheduler, sync_to_thread=False),
            "linker": Provide(provide_linker, sync_to_thread=False),
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


async def _forget(database: Database, days: int) -> None:
    """Keep the request log, the webhook deliveries and the idempotency keys to their spans while the server runs."""

    def remove(connection: sqlite3.Connection) -> tuple[int, int, int]:
        oldest = ago(timedelta(days=days))
        return (
            request_log.forget_before(connection, oldest),
            webhooks.forget_before(connection, oldest),
            job_ledger.forget_idempotency_keys(connection),
        )

    while True:
        try:
            rows, told, keys = await database.write(remove)
        except Exception:
            log.exception("What is past its time could not be removed")
        else:
            log.info(
                "Removed %d request-log rows and %d webhook deliveries older than %d days, and %d idempotency keys",
                rows,
                told,
                days,
                keys,
            )
        await asyncio.sleep(FORGET_EVERY_S)
