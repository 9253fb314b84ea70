"""What the GPUs can do together, for `/readyz`. Nothing here changes anything."""

from collections.abc import Mapping, Sequence

from server.scheduler.gpu import Gpu, GpuState


def ablest_state(gpus: Sequence[Gpu]) -> GpuState:
    """Return what the ablest GPU process does."""
    return min((gpu.state for gpu in gpus), key=list(GpuState).index)


def loaded(gpus: Sequence[Gpu]) -> list[str]:
    """Return the models that are in the memory of any GPU, in the order in which they came there."""
    return list(dict.fromkeys(model for gpu in gpus for model in gpu.loaded))


def reason_not_ready(gpus: Sequence[Gpu], default_model: str, load_errors: Mapping[str, str]) -> str | None:
    """Return why nothing could be generated now; None if a GPU that is up has a model in memory."""
    if any(gpu.is_up and gpu.loaded for gpu in gpus):
        return None
    if default_model in load_errors:
        return f"{default_model} could not be loaded: {load_errors[default_model]}"
    state = ablest_state(gpus)
    if state is not GpuState.RESTARTING:
        return f"the GPU process is {state}"
    crashes = min(gpu.crashes for gpu in gpus)
    times = "once" if crashes == 1 else f"{crashes} times in a row"
    return f"the GPU process crashed {times} and is started again; its log, {gpus[0].log_file}, says why"
