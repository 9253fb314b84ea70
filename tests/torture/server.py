"""The server, whose GPU processes are forked from the preloaded one in $TORTURE_FOLDER."""

import os
from functools import partial
from pathlib import Path

from server.__main__ import main
from server.scheduler.process import GpuProcess, ProcessFactory
from server.settings import Settings
from tests.torture.preloaded import ForkedProcess


def serve() -> None:
    """Serve until it is told to stop."""
    main(_forked_gpu)


def _forked_gpu(settings: Settings) -> ProcessFactory:
    start = partial(ForkedProcess.worker, Path(os.environ["TORTURE_FOLDER"]) / "worker")
    return partial(GpuProcess, settings.device, settings.memory_gib, settings.logs, silent=True, start=start)
