"""`/v1/admin/devices`: the GPUs, what each does and holds."""

import msgspec
from litestar import get
from litestar.di import NamedDependency

from server.api.openapi import errors
from server.scheduler.gpu import Gpu
from server.scheduler.gpu_state import GpuState
from server.scheduler.queue import BatchKey
from server.scheduler.scheduler import Scheduler


class ModelInMemory(msgspec.Struct, frozen=True):
    name: str
    revision: str
    #: Bytes of the device's memory that its weights take.
    bytes: int


class DeviceView(msgspec.Struct, frozen=True):
    #: `cpu`, `cuda:0`, …; `auto` until its first process has chosen it.
    name: str
    #: `NVIDIA H100 80GB HBM3`, `2 threads`, …; empty until its process is up.
    device_name: str
    state: GpuState
    #: Why its last process ended; null once another one is up.
    reason: str | None
    #: The id of its GPU process; null while there is none.
    pid: int | None
    models: list[ModelInMemory]
    #: The model that is being loaded; null if none is.
    loading: str | None
    #: The properties that the images in slots have in common; null if no slots are open.
    batch: BatchKey | None
    slots: int
    images_in_slots: int
    #: Images sent to its process that have not ended, those in slots included.
    images_in_flight: int
    #: Crashes of its process since the last image was generated.
    crashes: int
    #: Images generated since the server started.
    images_generated: int
    #: Null until its process is up. For a GPU it is what all programs use, for a CPU what its process uses.
    memory_used_bytes: int | None
    memory_total_bytes: int | None


class DeviceList(msgspec.Struct, frozen=True):
    devices: list[DeviceView]


@get("/devices", responses=errors(), summary="List devices")
async def list_devices(scheduler: NamedDependency[Scheduler]) -> DeviceList:
    return DeviceList([_view(gpu) for gpu in scheduler.gpus])


def _view(gpu: Gpu) -> DeviceView:
    group = gpu.groups.current
    return DeviceView(
        name=gpu.name,
        device_name=gpu.device_name,
        state=gpu.state,
        reason=gpu.problem,
        pid=gpu.pid,
        models=[ModelInMemory(name, revision, gpu.weight_bytes[name]) for name, revision in gpu.loaded.items()],
        loading=gpu.loading,
        batch=None if group is None else group.key,
        slots=gpu.groups.open_slots,
        images_in_slots=0 if group is None else min(len(group.images), group.batch_size),
        images_in_flight=len(gpu.in_flight),
        crashes=gpu.crashes,
        images_generated=gpu.images,
        memory_used_bytes=None if gpu.memory is None else gpu.memory.used_bytes,
        memory_total_bytes=None if gpu.memory is None else gpu.memory.total_bytes,
    )
