"""The images that may have caused the end of a GPU process."""

import signal

import pytest

from pipelines.failure_reason import FailureReason
from pipelines.model_card import ModelCard
from server.scheduler.batching import SlotGroup, SlotGroups
from server.scheduler.crash import crash_of_process
from server.scheduler.queue import BatchKey
from server.scheduler.recovery import Happened
from server.scheduler.watchdog import Verdict

IMAGES = ("written", "current", "following")


def group(model: str, *images: str) -> SlotGroup:
    card = ModelCard.from_flat(name=model, licence="-", tiers=("0.5K",), steps=4, guidance=1.0, max_batch=8)
    return SlotGroup(BatchKey(model, 512, 512, 4, 1.0), card, 2, images=set(images))


def groups(*opened: SlotGroup) -> SlotGroups:
    found = SlotGroups()
    for one in opened:
        found.open(one)
    return found


BOTH = groups(group("a", "current"), group("b", "following"))


@pytest.mark.parametrize(
    ("opened", "loading", "loaded", "suspects"),
    [
        pytest.param(BOTH, None, {"a", "b"}, {"current"}, id="the open slots, while they are computed"),
        pytest.param(BOTH, None, {"a"}, {"current", "following"}, id="a model that comes next is read meanwhile"),
        pytest.param(BOTH, "b", {"a"}, {"following"}, id="the model that is loaded"),
        pytest.param(BOTH, "c", {"a"}, set(), id="a model that is loaded for none of them"),
        pytest.param(groups(), None, {"a"}, set(IMAGES), id="no open slots: what is written"),
    ],
)
def test_an_end_is_put_down_to_what_was_being_done(
    opened: SlotGroups, loading: str | None, loaded: set[str], suspects: set[str]
) -> None:
    crash = crash_of_process(-signal.SIGKILL, None, opened, loading, IMAGES, loaded)
    assert crash.suspects == suspects
    assert (crash.happened, crash.loading, crash.image_ids) == (Happened.CRASHED, loading, IMAGES)
    assert crash.message == "The GPU process ended with signal 9 (SIGKILL)"


def test_an_image_that_is_not_written_in_time_is_to_blame_alone() -> None:
    verdict = Verdict(FailureReason.WRITE_TIMEOUT, "it was not written in time", "written")
    crash = crash_of_process(-signal.SIGKILL, verdict, BOTH, "b", IMAGES, {"a"})
    assert crash.suspects == {"written"}
    assert (crash.happened, crash.reason, crash.loading) == (Happened.KILLED, FailureReason.WRITE_TIMEOUT, None)
