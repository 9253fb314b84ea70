"""Crashes of GPU processes: what they mean for the images in the process, and when the next process starts."""

import signal
from collections.abc import Collection, Iterable

import msgspec

from pipelines.failure_reason import FailureReason
from server.scheduler.batching import SlotGroups
from server.scheduler.bounds import Bounds
from server.scheduler.recovery import Happened
from server.scheduler.watchdog import Verdict


class Crash(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that are known of one crash."""

    #: CRASHED, KILLED or DEVICE_LOST.
    happened: Happened
    reason: FailureReason
    message: str
    #: The images that were in the process, in the order in which they were sent.
    image_ids: tuple[str, ...]
    #: Those of them that may have caused the crash.
    suspects: frozenset[str]
    #: The model whose load ended the process; None if no load did.
    loading: str | None = None


def crash_of_process(
    status: int,
    verdict: Verdict | None,
    groups: SlotGroups,
    loading: str | None,
    in_flight: Iterable[str],
    loaded: Collection[str],
) -> Crash:
    """Return the crash of a process, by its exit status and by the images and models that were in it.

    `verdict` is why the watchdog ended it; None if it ended by itself.
    """
    happened = Happened.KILLED
    if verdict is None:
        ending = f"the GPU process ended with {_ending(status)}"
        verdict, happened = Verdict(FailureReason.WORKER_CRASHED, ending), Happened.CRASHED
    images = tuple(in_flight)
    # A load that took too long may be reported as done before its process has ended.
    loading = verdict.loading or loading
    return Crash(
        happened=happened,
        reason=verdict.reason,
        message=verdict.message[0].upper() + verdict.message[1:],
        image_ids=images,
        suspects=frozenset([verdict.image_id] if verdict.image_id else _suspects(groups, loading, images, loaded)),
        # An image that is not written in time is to blame, and not a model that is loaded meanwhile.
        loading=None if verdict.image_id else loading,
    )


def crash_of_box(message: str, in_flight: Iterable[str]) -> Crash:
    """Return the crash of a process whose box is gone. None of its images is to blame."""
    return Crash(
        happened=Happened.DEVICE_LOST,
        reason=FailureReason.WORKER_CRASHED,
        message=message,
        image_ids=tuple(in_flight),
        suspects=frozenset(),
    )


def restart_pause(crashes: int, bounds: Bounds) -> float:
    """Return the seconds until the next start after this many crashes in a row: 0 after the first, then doubled each time."""
    if crashes <= 1:
        return 0.0
    # The exponent is bounded, since a process may fail to start for days.
    return min(bounds.restart_s * 2.0 ** min(crashes - 2, 32), bounds.restart_most_s)


def _suspects(
    groups: SlotGroups, loading: str | None, in_flight: Collection[str], loaded: Collection[str]
) -> Collection[str]:
    """Return the images that may have caused the crash, which may be none. All others are bystanders.

    While a model is being loaded, its images are the suspects. Otherwise the current group's images are, and the following
    group's too if its model is not `loaded`, because the process is reading that model into host memory. If no slots are
    open, the images that are being written are the suspects.
    """
    if loading is not None:
        return groups.of_model(loading)
    if groups.current is None:
        return in_flight
    if groups.following is None or groups.following.key.model in {*loaded, groups.current.key.model}:
        return groups.current.images
    return groups.current.images | groups.following.images


def _ending(status: int) -> str:
    """Return a process's exit status for people. A negative one is the signal that ended it."""
    try:
        return f"signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"status {status}"
    except ValueError:
        return f"signal {-status}"
