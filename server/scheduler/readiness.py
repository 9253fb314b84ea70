"""What the GPUs can do together, for `/readyz`."""

from collections.abc import Mapping, Sequence

import msgspec

from pipelines import protocol
from server.scheduler.gpu import Gpu, GpuState


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


def readiness(gpus: Sequence[Gpu], default_model: str, load_errors: Mapping[str, str]) -> Readiness:
    """Return how the GPUs are now. `load_errors` says what stood in the way of each model that could not be loaded."""
    return Readiness(
        reason=_reason(gpus, default_model, load_errors),
        state=_ablest_state(gpus),
        device=next((gpu.device for gpu in gpus if gpu.device is not None), None),
        loaded=list(dict.fromkeys(model for gpu in gpus for model in gpu.loaded)),
    )


def _ablest_state(gpus: Sequence[Gpu]) -> GpuState:
    return min((gpu.state for gpu in gpus), key=list(GpuState).index)


def _reason(gpus: Sequence[Gpu], default_model: str, load_errors: Mapping[str, str]) -> str | None:
    if any(gpu.is_up and gpu.loaded for gpu in gpus):
        return None
    if default_model in load_errors:
        return f"{default_model} could not be loaded: {load_errors[default_model]}"
    state = _ablest_state(gpus)
    if state is not GpuState.RESTARTING:
        return f"the GPU process is {state}"
    crashes = min(gpu.crashes for gpu in gpus)
    times = "once" if crashes == 1 else f"{crashes} times in a row"
    return f"the GPU process crashed {times}, and the server starts it again; its log, {gpus[0].log_file}, says why"
