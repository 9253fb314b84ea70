"""The clean-up of images on real files."""

import asyncio
from pathlib import Path

import pytest

from server.disk_room import GIB
from server.image_files import ImageFiles
from server.ledger import clients, credits, jobs
from server.ledger.catalog import Result
from server.ledger.connection import migrate
from server.ledger.database import Database
from server.retention import Retention
from server.settings import Settings
from server.thumbnails import Thumbnails
from tests.support.ledger import new_image, new_job, row

FAVOURITES_STAY = "favourites stay"


@pytest.mark.parametrize(("is_favourite", "told"), [(True, FAVOURITES_STAY), (False, "cannot be deleted")])
def test_what_keeps_images_from_being_removed_is_said_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_favourite: bool, told: str
) -> None:
    settings = Settings(data=tmp_path, models=tmp_path / "models.toml", disk_gib=1 / GIB)
    # Nobody can delete a folder with something in it as a file.
    (settings.images / "a.png" / "something").mkdir(parents=True)

    async def scene(database: Database) -> None:
        client = await database.write(clients.add, "studio", test=False)
        await database.write(credits.grant, client, 100)
        job = new_job(client)
        await database.write(jobs.add, job, "x", row(1), None)
        await database.write(jobs.succeed, job.job_id, Result([new_image("a.png")], "done"))
        await database.write(
            lambda connection: connection.execute("UPDATE catalog SET favourite = ?", (is_favourite,)).rowcount
        )
        thumbnails = Thumbnails(settings.images, settings.thumbnails)
        await Retention(settings, database, ImageFiles(database, settings.images, thumbnails)).remove_due()

    migrate(settings.database)
    database = Database(settings.database)
    asyncio.run(scene(database))
    database.close()
    assert told in caplog.text
    assert (FAVOURITES_STAY in caplog.text) == is_favourite
