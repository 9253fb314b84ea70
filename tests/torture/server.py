"""The server, whose GPU processes are forked from the preloaded one in $TORTURE_FOLDER."""

import os
from functools import partial
from pathlib import Path

from server.__main__ import main
from server.scheduler.devices import local_devices
from tests.torture.preloaded import ForkedProcess


def serve() -> None:
    """Serve until it is told to stop."""
    start = partial(ForkedProcess.worker, Path(os.environ["TORTURE_FOLDER"]) / "worker")
    main(partial(local_devices, start=start))
