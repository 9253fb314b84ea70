"""The server's end of a GPU process on another box, while this process is in no Ray cluster."""

import asyncio

import pytest

from pipelines import protocol

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
