"""`python -m benchmarks.sleeping_server`: the server with GPU processes that sleep, as many as the settings name devices."""

from functools import partial

import msgspec

from server.__main__ import main
from server.scheduler.devices import Device, local_devices
from server.scheduler.process import GpuProcess
from server.settings import Settings


def sleeping_devices(settings: Settings) -> list[Device]:
    return [
        msgspec.structs.replace(
            device,
            start=partial(GpuProcess, "cpu", 0, settings.logs / "unused.log", module="benchmarks.sleeping_worker"),
        )
        for device in local_devices(settings)
    ]


if __name__ == "__main__":
    main(sleeping_devices)
