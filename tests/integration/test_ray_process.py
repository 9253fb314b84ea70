"""The server's end of a GPU process on another box, in a process that is in no Ray cluster."""

import asyncio
from pathlib import Path

import pytest

from pipelines import protocol
from pipelines.failure_reason import FailureReason
from pipelines.model_card import ModelCard

pytest.importorskip("ray")


def test_without_a_cluster_a_process_says_why_it_cannot_start_and_ends() -> None:
    from server.cluster.process import UNKNOWN, RayProcess

    async def scene() -> None:
        heard: asyncio.Queue[protocol.Report | int] = asyncio.Queue()
        process = RayProcess("two", {}, 0)
        process.follow(heard.put_nowait, heard.put_nowait)
        assert await heard.get() == protocol.CannotStart("the server is in no Ray cluster")
        assert await heard.get() == UNKNOWN
        assert process.wait(0)

    asyncio.run(scene())


def test_a_preview_that_comes_after_the_end_of_its_image_is_dropped(tmp_path: Path) -> None:
    """Check this as with an image that is cancelled while a thread of its GPU process writes the preview."""
    from server.cluster.process import written

    path = tmp_path / "one.webp"
    items = {"one": protocol.Item("one", 1, "marble", "", "one.png", preview_path=str(path))}
    previewed, cancelled = protocol.Previewed("one", 1, 3), protocol.Cancelled("one")
    assert written(previewed, b"first", items) == previewed
    assert path.read_bytes() == b"first"
    assert written(cancelled, None, items) == cancelled
    assert written(previewed, b"second", items) == previewed
    assert path.read_bytes() == b"first"


def test_an_image_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    from server.cluster.process import written
    from tests.support.fake_process import recipe_of

    (tmp_path / "taken").write_text("a file in place of a folder")
    item = protocol.Item("one", 1, "marble", "", str(tmp_path / "taken" / "one.png"))
    card = ModelCard.from_flat(name="a", folder="a", licence="-", tiers=("0.5K",), steps=3, guidance=2.0)
    recipe = recipe_of(protocol.Generate(card, 64, 64, 3, 2.0, 1, item))
    found = written(protocol.Generated("one", recipe, None, None, {}), b"a PNG", {"one": item})
    assert isinstance(found, protocol.Failed)
    assert (found.image_id, found.reason) == ("one", FailureReason.IMAGE_NOT_WRITTEN)
