"""The server's end of a real GPU process that takes no orders."""

import asyncio
import os
import signal
import threading
from pathlib import Path

import pytest

from pipelines import protocol
from server.scheduler.process import GpuProcess

#: The error that torchvision raises if it was built for another torch.
UNFIT = "operator torchvision::nms does not exist"


def test_orders_for_a_process_that_hangs_keep_nobody_waiting(tmp_path: Path) -> None:
    async def scene() -> int:
        ended = asyncio.get_running_loop().create_future()
        process = GpuProcess("cpu", 0, tmp_path / "gpu-process.log", silent=True)
        # If `send` waits after all, this timer ends the wait and the test.
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


def test_a_torchvision_that_does_not_fit_torch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages" / "torchvision"
    (tmp_path / "packages" / "torchvision-0.1.dist-info").mkdir(parents=True)
    (tmp_path / "packages" / "torchvision-0.1.dist-info" / "METADATA").write_text("Name: torchvision\nVersion: 0.1\n")
    package.mkdir()
    (package / "__init__.py").write_text(f"raise RuntimeError({UNFIT!r})\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'packages'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    async def scene() -> list[protocol.Report]:
        ended = asyncio.get_running_loop().create_future()
        reports: list[protocol.Report] = []
        GpuProcess("cpu", 0, tmp_path / "gpu-process.log", silent=True).follow(reports.append, ended.set_result)
        assert await ended == 1
        return reports

    [told] = asyncio.run(scene())
    assert isinstance(told, protocol.CannotStart)
    assert told.message.startswith("torchvision 0.1 does not fit torch 2.")
    assert f"(RuntimeError: {UNFIT}); " in told.message
    assert told.message.endswith("-m pip uninstall torchvision")
