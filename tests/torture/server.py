"""`python -m tests.torture.server`: the server, whose GPU processes are forked from the preloaded one at $TORTURE_SOCKET."""

import os
from functools import partial
from pathlib import Path

from server.__main__ import main
from server.scheduler.devices import local_devices
from tests.torture.preloaded import ForkedProcess

if __name__ == "__main__":
    main(partial(local_devices, start=partial(ForkedProcess, Path(os.environ["TORTURE_SOCKET"]))))
