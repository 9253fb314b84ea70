"""`python -m benchmarks.sleeping_server`: the server with GPU processes that sleep, as many as the settings name devices."""

import subprocess
from functools import partial
from typing import Any

from server.__main__ import main
from server.scheduler.devices import local_devices


def _sleeping(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*command[:2], "benchmarks.sleeping_worker", *command[3:]], **options)


if __name__ == "__main__":
    main(partial(local_devices, start=_sleeping))
