"""The GPUs that serve the queue. They may come and go while the server runs."""

import asyncio
import logging
from collections.abc import Iterable, Iterator

from pipelines import protocol
from server.scheduler.bounds import Bounds
from server.scheduler.crash import crash_of_box
from server.scheduler.devices import Device
from server.scheduler.gpu import Gpu, Listener

log = logging.getLogger(__name__)


class Pool:
    """Owns the list of GPUs. Each GPU owns its state."""

    def __init__(self, devices: Iterable[Device], bounds: Bounds) -> None:
        """Take the devices to begin with."""
        self._bounds = bounds
        self._listener: Listener | None = None
        #: Why devices may be missing; None if none is known to be.
        self.problem: str | None = None
        self._gpus = [Gpu(device, bounds) for device in devices]

    def __iter__(self) -> Iterator[Gpu]:
        return iter(self._gpus)

    def __len__(self) -> int:
        return len(self._gpus)

    def start(self, listener: Listener) -> None:
        """Start a process on every GPU, and tell the listener what happens to them."""
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
        """Remove a device, if it is there. The images that are in its process run elsewhere."""
        gpu = next((gpu for gpu in self._gpus if gpu.name == name), None)
        if gpu is None:
            return
        log.warning("The device %s is removed: %s", name, why)
        self._gpus.remove(gpu)
        crash = crash_of_box(why, gpu.in_flight)
        try:
            await gpu.stop()
        finally:
            # No process will report on these images any more.
            if self._listener is not None:
                self._listener.on_crash(crash)

    def add_others(self, gpu: Gpu, count: int) -> None:
        """Add the other GPUs of the box of this one, on which its process has found `count` in all."""
        for device in gpu.device.others(count):
            self.add(device)

    def compare(self, gpu: Gpu, started: protocol.Started) -> None:
        """Log if two devices of one device name compute different bits, so that a seed may give other bytes on them."""
        for other in self._gpus:
            if differ(other.started, started):
                log.warning(
                    "%s and %s are both %s, and compute other bits: the same seed may give other bytes on them",
                    gpu.name,
                    other.name,
                    started.device_name,
                )


def differ(one: protocol.Started | None, other: protocol.Started | None) -> bool:
    """Return whether two devices that are up have one device name and compute different bits."""
    if one is None or other is None:
        return False
    return one.device_name == other.device_name and one.fingerprint != other.fingerprint
