"""`python -m tests.torture.server`: the server, whose GPU processes are forked from the preloaded one at $TORTURE_SOCKET."""

import os
from functools import partial
from pathlib import Path

from server.__main__ import main
from server.scheduler.process import GpuProcess, ProcessFactory
from server.settings import Settings
from tests.torture.preloaded import ForkedProcess


def forked_gpu(settings: Settings) -> ProcessFactory:
    start = partial(ForkedProcess, Path(os.environ["TORTURE_SOCKET"]))
    return partial(GpuProcess, settings.device, settings.memory_gib, settings.logs, silent=True, start=start)


if __name__ == "__main__":
    main(forked_gpu)
