"""Tells what the GPUs can do, alone and together, for `/readyz` and `/metrics`."""

import msgspec

from server.downloading import amount
from server.scheduler.gpu import Gpu
from server.scheduler.gpu_state import GpuState
from server.scheduler.model_loads import ModelLoads
from server.scheduler.pool import Pool, differ


class DeviceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one device at one moment."""

    #: Its name in settings and model cards: `cuda:1`.
    name: str
    state: GpuState
    #: Whether its process takes orders.
    is_up: bool
    #: Why its last process ended; null if its process is up, or none has ended.
    reason: str | None
    #: Its hardware: `NVIDIA H100 80GB HBM3`, `2 threads`; null until its process is up.
    device_name: str | None
    #: The models in its memory.
    models: list[str]
    #: Why its box may not run these models: its weights are not the server's.
    refused: dict[str, str]
    #: Slots that are open.
    slots: int
    #: Images in its process, those being written included.
    images_in_flight: int
    #: Images generated since the server started.
    images_generated: int
    #: The memory that all programs use of a GPU, or that the process uses on a CPU; null until the process is up.
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    #: Devices of the same device_name that compute different bits, so that a seed may give other bytes on them.
    differs_from: list[str]


class PoolReadiness(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the GPUs at one moment."""

    #: Why nothing could be generated now; None if a GPU that is up has a model in memory, or can load one.
    reason: str | None
    #: The load that the next job waits for; None if a model is in memory.
    note: str | None
    #: The state of the ablest GPU process.
    state: GpuState
    #: The first device that is up, with what it is; None if none is.
    device: str | None
    #: The models in the memory of any GPU.
    loaded: list[str]
    devices: list[DeviceStatus]


def readiness(gpus: Pool, default_model: str, loads: ModelLoads) -> PoolReadiness:
    """Return how the GPUs are now."""
    return PoolReadiness(
        reason=_reason(gpus, default_model, loads),
        note=_note(gpus),
        state=_ablest_state(gpus),
        device=_first_device(gpus),
        loaded=list(dict.fromkeys(model for gpu in gpus for model in gpu.loaded)),
        devices=[_status(gpu, gpus) for gpu in gpus],
    )


def _first_device(gpus: Pool) -> str | None:
    started = next((gpu.started for gpu in gpus if gpu.started is not None), None)
    return None if started is None else f"{started.device} ({started.device_name})"


def _status(gpu: Gpu, gpus: Pool) -> DeviceStatus:
    memory = gpu.memory
    return DeviceStatus(
        name=gpu.name,
        state=gpu.state,
        is_up=gpu.is_up,
        reason=gpu.problem,
        device_name=gpu.device_name or None,
        models=list(gpu.loaded),
        refused=dict(gpu.refused),
        slots=gpu.groups.open_slots,
        images_in_flight=len(gpu.in_flight),
        images_generated=gpu.images,
        memory_used_bytes=None if memory is None else memory.used_bytes,
        memory_total_bytes=None if memory is None else memory.total_bytes,
        differs_from=[other.name for other in gpus if differ(gpu.started, other.started)],
    )


def _ablest_state(gpus: Pool) -> GpuState:
    return min((gpu.state for gpu in gpus), key=list(GpuState).index, default=GpuState.STOPPED)


def _reason(gpus: Pool, default_model: str, loads: ModelLoads) -> str | None:
    if any(gpu.is_up and gpu.loaded for gpu in gpus):
        return None
    if gpus.problem is not None:
        return gpus.problem
    if not gpus:
        return "there is no device yet"
    if (running := loads.downloads.get(default_model)) is not None:
        so_far = "" if running.progress is None else f": {amount(running.progress)}"
        return f"{default_model} is being downloaded{so_far}"
    if default_model in loads.errors:
        return f"{default_model} could not be loaded: {loads.errors[default_model]}"
    if any(gpu.is_up and gpu.has_loaded for gpu in gpus):
        return None
    state = _ablest_state(gpus)
    if state is GpuState.READY:
        return "no model has been loaded yet; the next image loads the one it needs, and at /desk any can be loaded"
    if state is not GpuState.RESTARTING:
        return f"the GPU process is {state}"
    gpu = min(gpus, key=lambda gpu: gpu.crashes)
    times = f"{gpu.crashes} times in a row" if gpu.crashes > 1 else "once"
    return (
        f"the GPU process of {gpu.name} ended {times} ({gpu.problem}), and the server starts it again;"
        f" its log, {gpu.device.log}, may say more"
    )


def _note(gpus: Pool) -> str | None:
    up = [gpu for gpu in gpus if gpu.is_up]
    if any(gpu.loaded for gpu in up):
        return None
    loading = next((gpu.loading for gpu in up if gpu.loading is not None), None)
    if loading is not None:
        return f"{loading} is being loaded"
    return "no model is in memory; the next job loads the one that it names"
