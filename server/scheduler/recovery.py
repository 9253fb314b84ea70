"""Decides what becomes of an image whose run came to nothing. Pure: one table of cases, tested row by row.

An image answers for a crash only if it may have caused it. If several images may have, each of them runs again isolated, as
often as a crash leaves more than one suspect. A bystander runs again too. The runs that the crash cut short do not count as
attempts.
"""

from enum import Enum, auto

import msgspec

from server.jobs import FailureMode


class Happened(Enum):
    """The cause for which the run of an image came to nothing.

    Memory that runs out is not among these: the GPU process makes room, or opens fewer slots, and begins its images again
    without being asked. One image that is too large by itself is refused if another device may run it, else a machine fault.
    """

    #: The finished image is of no use.
    IMAGE_FAULT = auto()
    #: This image alone failed, because of the machine, the model or its card.
    MACHINE_FAULT = auto()
    #: A denoiser call failed, and with it every image in a slot.
    BATCH_FAILED = auto()
    #: The GPU process ended by itself.
    CRASHED = auto()
    #: The watchdog ended the GPU process.
    KILLED = auto()
    #: The box of the GPU process is gone.
    DEVICE_LOST = auto()
    #: The device may not run the model, or has too little memory for the image, and another device may run it.
    REFUSED = auto()
    #: The model could not be loaded, and is tried again after a pause.
    LOAD_FAILED = auto()
    #: The model failed to load so often that images no longer wait for it.
    LOAD_GIVEN_UP = auto()
    #: The model is no longer among the enabled models of models.toml.
    MODEL_REMOVED = auto()
    #: The server was killed, or crashed, and has started again.
    SERVER_RESTARTED = auto()


class Decision(Enum):
    """The decision about the image."""

    #: Its job fails and is refunded.
    FAIL = auto()
    #: It runs again with its seed; the run that failed counts as an attempt.
    RETRY_SAME_SEED = auto()
    #: It runs again with another seed; the run that failed counts as an attempt.
    RETRY_NEXT_SEED = auto()
    #: It runs again, and a run that was cut short or never began is no attempt.
    REQUEUE = auto()
    #: It runs again with no neighbour, and the run that failed does not count.
    ISOLATE = auto()
    #: Its job ends and is refunded for the reason that it has already: a cancel, or another of its images.
    END = auto()


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the decision depends on: what happened to an image, and the state of its job."""

    happened: Happened
    #: Its job was cancelled, or failed by another of its images.
    withdrawn: bool = False
    #: It may have caused what happened.
    suspect: bool = True
    #: Another image may have caused it as well.
    shared: bool = False
    #: It may run as another attempt.
    attempts_left: bool = True
    #: Crashes of GPU processes that it was present at, this one included.
    crashes: int = 0
    mode: FailureMode = FailureMode.FAIL


def decide(case: Case, most_crashes: int) -> Decision:
    """Return what becomes of the image: the first row that fits decides.

    An image answers for its `most_crashes`-th crash, even if it was never a suspect.
    """
    match case:
        case Case(withdrawn=True):
            return Decision.END
        case Case(happened=Happened.MODEL_REMOVED | Happened.LOAD_GIVEN_UP):
            return Decision.FAIL
        case Case(happened=Happened.LOAD_FAILED):
            return Decision.REQUEUE
        case Case(happened=Happened.SERVER_RESTARTED, attempts_left=True):
            return Decision.RETRY_SAME_SEED
        case Case(happened=Happened.SERVER_RESTARTED):
            return Decision.FAIL
        case Case(happened=Happened.IMAGE_FAULT, mode=FailureMode.RETRY, attempts_left=True):
            return Decision.RETRY_NEXT_SEED
        case Case(happened=Happened.IMAGE_FAULT):
            return Decision.FAIL
        case Case(happened=Happened.REFUSED):
            return Decision.REQUEUE
        case Case(happened=Happened.CRASHED | Happened.KILLED | Happened.DEVICE_LOST) if case.crashes >= most_crashes:
            return _answer(case)
        case Case(happened=Happened.DEVICE_LOST):
            return Decision.REQUEUE
        case Case(happened=Happened.CRASHED | Happened.KILLED, suspect=False):
            return Decision.REQUEUE
        case Case(happened=Happened.BATCH_FAILED | Happened.CRASHED | Happened.KILLED, shared=True):
            return Decision.ISOLATE
        case _:
            return _answer(case)


def _answer(case: Case) -> Decision:
    """Return what becomes of an image that answers for what the machine did."""
    retries = case.mode is FailureMode.RETRY and case.attempts_left
    return Decision.RETRY_SAME_SEED if retries else Decision.FAIL
