"""The watch over the room on the disk goes on after errors."""

import asyncio
from pathlib import Path

import pytest

from server.disk_room import DiskRoom
from server.ledger.reserve import Reserve
from server.settings import Settings


def test_the_watch_goes_on_after_a_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    room = DiskRoom(Settings(data=tmp_path, disk_free_gib=1e9), Reserve(tmp_path / "reserve"))

    async def watch() -> None:
        asked = asyncio.Event()

        async def cannot() -> None:
            asked.set()
            raise OSError("the disk does not answer")

        watching = asyncio.create_task(room.watch(cannot))
        await asked.wait()
        assert not watching.done()
        watching.cancel()

    asyncio.run(watch())
    assert "the disk does not answer" in caplog.text
