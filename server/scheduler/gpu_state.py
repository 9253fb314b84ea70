"""The states of a GPU process, and which may follow which."""

from enum import StrEnum


class GpuState(StrEnum):
    """The state of a GPU process, the ablest first. `/readyz` shows these words."""

    #: It generates images.
    RUNNING = "running"
    #: It waits for orders.
    READY = "ready"
    #: It reads a model into memory, and does nothing else.
    LOADING = "loading"
    #: It imports torch and looks for its device.
    STARTING = "starting"
    #: It has ended, and the server starts another, perhaps after a pause.
    RESTARTING = "restarting"
    #: It was not started, or the server is stopping.
    STOPPED = "stopped"


#: The states in which it takes orders.
UP = {GpuState.RUNNING, GpuState.READY, GpuState.LOADING}
#: The states that may follow each state.
TRANSITIONS = {
    GpuState.STOPPED: {GpuState.STARTING, GpuState.STOPPED},
    GpuState.STARTING: {GpuState.READY, GpuState.RESTARTING, GpuState.STOPPED},
    GpuState.RESTARTING: {GpuState.STARTING, GpuState.STOPPED},
    **{state: {*UP, GpuState.RESTARTING, GpuState.STOPPED} for state in UP},
}
