"""`python -m tests.support.preloaded_server`: the server, whose GPU processes are forked by the one at $PRELOADED_WORKER."""

import os
from functools import partial
from pathlib import Path

from server.__main__ import main
from server.scheduler.devices import local_devices
from tests.support.preloaded import ForkedProcess


def serve() -> None:
    """Serve until a signal ends the server."""
    start = partial(ForkedProcess.worker, Path(os.environ["PRELOADED_WORKER"]))
    main(partial(local_devices, start=start))


if __name__ == "__main__":
    serve()
