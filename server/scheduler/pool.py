"""The GPUs that serve the queue. They may come and go while the server runs."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import overload

from pipelines import protocol
from server.scheduler.bounds import Bounds
from server.scheduler.crash import crash_of_box
from server.scheduler.devices import Device
from server.scheduler.gpu import Gpu, Listener

log = logging.getLogger(__name__)


class Pool(Sequence[Gpu]):
    """Owns which GPUs there are. Each of them owns what it does."""

    def __init__(self, devices: Iterable[Device], bounds: Bounds) -> None:
        """Take the devices to begin with."""
        self._bounds = bounds
        self._listener: Listener | None = None
        #: Why there may be fewer devices than there should be; None if that is not known to be so.
        self.problem: str | None = None
        self._gpus = [Gpu(device, bounds) for device in devices]

    @overload
    def __getitem__(self, index: int) -> Gpu: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Gpu]: ...
    def __getitem__(self, index: int | slice) -> Gpu | Sequence[Gpu]:
        return self._gpus[index]

    def __len__(self) -> int:
        return len(self._gpus)

    def start(self, listener: Listener) -> None:
        """Start a process on every GPU, and tell what happens to any of them."""
        self._listener = listener
        for gpu in self._gpus:
            gpu.start(listener)

    async def stop(self) -> None:
        """End all processes."""
        await asyncio.gather(*(gpu.stop() for gpu in self._gpus))

    def add(self, device: Device) -> None:
        """Start a process on one more device, unless it is there already."""
        if any(gpu.name == device.name for gpu in self._gpus):
            return
        log.info("The device %s is added", device.name)
        gpu = Gpu(device, self._bounds)
        self._gpus.append(gpu)
        if self._listener is not None:
            gpu.start(self._listener)

    async def remove(self, name: str, why: str) -> None:
        """Give a device up, if it is there. The images that are in its process run elsewhere."""
        gpu = next((gpu for gpu in self._gpus if gpu.name == name), None)
        if gpu is None:
            return
        log.warning("The device %s is removed: %s", name, why)
        self._gpus.remove(gpu)
        crash = crash_of_box(why, gpu.in_flight)
        try:
            await gpu.stop()
        finally:
            # Nobody else knows of these images.
            if self._listener is not None:
                self._listener.on_crash(crash)

    def add_others(self, gpu: Gpu, count: int) -> None:
        """Add the other GPUs of a box on which a process has found so many."""
        for device in gpu.place.others(count):
            self.add(device)

    def compare(self, gpu: Gpu, started: protocol.Started) -> None:
        """Say if two devices of one name compute other bits, so that a seed may give other bytes on them."""
        for other in self._gpus:
            if differ(other.device, started):
                log.warning(
                    "%s and %s are both %s, and compute other bits: the same seed may give other bytes on them",
                    gpu.name,
                    other.name,
                    started.device_name,
                )


def differ(one: protocol.Started | None, other: protocol.Started | None) -> bool:
    """Return whether two devices that are up have one name and compute other bits."""
    if one is None or other is None:
        return False
    return one.device_name == other.device_name and one.fingerprint != other.fingerprint
