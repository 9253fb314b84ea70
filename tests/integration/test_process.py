"""The server's end of a real GPU process that takes no orders."""

import asyncio
import os
import signal
import threading
from pathlib import Path

from pipelines import protocol
from server.scheduler.process import GpuProcess


def test_orders_for_a_process_that_hangs_keep_nobody_waiting(tmp_path: Path) -> None:
    async def scene() -> int:
        ended = asyncio.get_running_loop().create_future()
        process = GpuProcess("cpu", 0, tmp_path / "gpu-process.log", silent=True)
        # If `send` waits after all, this ends it and the test.
        rescue = threading.Timer(20, process.kill)
        rescue.start()
        process.follow(lambda _: None, ended.set_result)
        os.kill(process.pid, signal.SIGSTOP)
        for _ in range(1000):
            process.send(protocol.Cancel("x" * 10_000))
        assert not process.wait(0), "the orders waited until the process was gone"
        rescue.cancel()
        process.kill()
        return int(await ended)

    assert asyncio.run(scene()) == -signal.SIGKILL
