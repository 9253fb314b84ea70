"""The tasks that run beside the routes, from the start of the server to its end."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from server import leftovers, previews
from server.clock import ago
from server.disk_room import DiskRoom
from server.image_files import ImageFiles
from server.ledger import idempotency, request_log, webhooks
from server.ledger.database import Database
from server.models_watch import ModelsFile
from server.retention import Retention
from server.scheduler.scheduler import Scheduler
from server.settings import Settings
from server.webhooks.sender import WebhookSender

log = logging.getLogger(__name__)

FORGET_EVERY_S = 6 * 3600.0


@asynccontextmanager
async def running(
    settings: Settings,
    models: ModelsFile,
    database: Database,
    disk: DiskRoom,
    image_files: ImageFiles,
    scheduler: Scheduler,
    sender: WebhookSender,
) -> AsyncIterator[None]:
    """Start the scheduler with its GPU processes, and the tasks that go on by themselves; end them all afterwards."""
    disk.take_reserve()
    previews.remove_all(settings.previews)
    await scheduler.start()
    beside = [
        asyncio.create_task(_forget(database, settings.log_days)),
        asyncio.create_task(models.watch(scheduler.models_changed)),
        asyncio.create_task(disk.watch(lambda: leftovers.remove_all(settings.images, database))),
        asyncio.create_task(Retention(settings, database, image_files).run()),
        asyncio.create_task(scheduler.control.follow_command()),
        asyncio.create_task(scheduler.follow_clock()),
        asyncio.create_task(leftovers.remove_all(settings.images, database)),
    ]
    if settings.ray:
        # Without the setting, nothing of Ray is imported.
        from server.cluster.membership import Membership

        beside.append(asyncio.create_task(Membership(settings).keep(scheduler.gpus)))
    sending = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        for task in (*beside, sending):
            task.cancel()
        await scheduler.stop()
        await asyncio.wait([sending])
        image_files.thumbnails.close()


async def _forget(database: Database, days: int) -> None:
    """Remove request-log rows, webhook deliveries and idempotency keys that are past their time, again and again."""

    def remove(connection: sqlite3.Connection) -> tuple[int, int, int]:
        oldest = ago(timedelta(days=days))
        return (
            request_log.forget_before(connection, oldest),
            webhooks.forget_before(connection, oldest),
            idempotency.forget_keys(connection),
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
