"""The devices of this box: which there are, and how a GPU process is started on each."""

import os
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

import msgspec

from server.scheduler.process import GpuProcess, Process, ProcessFactory, StartedProcess
from server.settings import Settings

#: The name of a device that its first GPU process chooses.
AUTO = "auto"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A place where one GPU process at a time runs."""

    #: Its name for operators and model cards: `cuda:1`, `cpu`; AUTO if its first process chooses it.
    name: str
    start: ProcessFactory
    #: The place at which people find the log of its processes.
    log: str
    #: Returns the box's other devices from the number of GPUs that torch sees; none unless the settings ask for all GPUs.
    others: Callable[[int], Sequence["Device"]] = lambda _: []


def local_devices(settings: Settings, start: Callable[..., StartedProcess] = subprocess.Popen) -> list[Device]:
    """Return the devices of this box that the settings name. Several on the CPU share its cores.

    `start` goes to GpuProcess.
    """
    names = settings.local_devices if settings.uses_own_devices else []
    device = partial(_device, settings, start)
    if names == [AUTO]:
        return [_auto(settings, device)]
    cpus = names.count("cpu")
    if cpus > 1:
        numbers = count()
        names = [f"cpu:{next(numbers)}" if name == "cpu" else name for name in names]
    threads = max(1, len(os.sched_getaffinity(0)) // cpus) if cpus > 1 else None
    return [device(name, first=index == 0, threads=threads) for index, name in enumerate(names)]


def _auto(settings: Settings, device: Callable[..., Device]) -> Device:
    """Return the device that torch finds first. Unless the settings ask for one device, its `others` are all further GPUs."""
    first = device(AUTO, first=True)
    if settings.device:
        return first
    return msgspec.structs.replace(
        first, others=lambda gpus: [device(f"cuda:{index}", first=False) for index in range(1, gpus)]
    )


def _device(
    settings: Settings, start: Callable[..., StartedProcess], name: str, *, first: bool, threads: int | None = None
) -> Device:
    # Each process rotates a log file of its own.
    file = settings.logs / ("gpu-process.log" if first else f"gpu-process-{name.replace(':', '-')}.log")
    torch_name = "cpu" if name.startswith("cpu") else name
    return Device(
        name=name,
        start=partial(GpuProcess, torch_name, settings.memory_gib, file, threads=threads, start=start),
        log=str(file),
    )


def started_early(device: Device) -> Device:
    """Return the device with a first process that runs already. Raises OSError if the operating system refuses it."""
    running: list[Process] = [device.start()]
    return msgspec.structs.replace(device, start=lambda: running.pop() if running else device.start())
