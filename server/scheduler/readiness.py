"""What the GPUs can do together, for `/readyz`."""

from collections.abc import Sequence

import msgspec

from pipelines import protocol
from server.downloading import amount
from server.scheduler.gpu import Gpu, GpuState
from server.scheduler.model_loads import ModelLoads


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """How the GPUs are at one moment."""

    #: Why nothing could be generated now; None if a GPU that is up has a model in memory.
    reason: str | None
    #: What the ablest GPU process does.
    state: GpuState
    #: The first device that is up; None if none is.
    device: protocol.Started | None
    #: The models in the memory of any GPU.
    loaded: list[str]


def readiness(gpus: Sequence[Gpu], default_model: str, loads: ModelLoads) -> Readiness:
    """Return how the GPUs are now."""
    return Readiness(
        reason=_reason(gpus, default_model, loads),
        state=_ablest_state(gpus),
        device=next((gpu.device for gpu in gpus if gpu.device is not None), None),
        loaded=list(dict.fromkeys(model for gpu in gpus for model in gpu.loaded)),
    )


def _ablest_state(gpus: Sequence[Gpu]) -> GpuState:
    return min((gpu.state for gpu in gpus), key=list(GpuState).index)


def _reason(gpus: Sequence[Gpu], default_model: str, loads: ModelLoads) -> str | None:
    if any(gpu.is_up and gpu.loaded for gpu in gpus):
        return None
    if (running := loads.downloads.get(default_model)) is not None:
        so_far = "" if running.progress is None else f": {amount(running.progress)}"
        return f"{default_model} is being downloaded{so_far}"
    if default_model in loads.errors:
        return f"{default_model} could not be loaded: {loads.errors[default_model]}"
    state = _ablest_state(gpus)
    if state is not GpuState.RESTARTING:
        return f"the GPU process is {state}"
    crashes = min(gpu.crashes for gpu in gpus)
    times = "once" if crashes == 1 else f"{crashes} times in a row"
    return f"the GPU process crashed {times}, and the server starts it again; its log, {gpus[0].log_file}, says why"
