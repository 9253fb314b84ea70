"""The table of what becomes of an image whose run failed."""

import itertools

import pytest

from server.jobs import FailureMode
from server.scheduler.recovery import Case, Decision, Happened, decide

MOST_CRASHES = 5
BY_ITSELF = (Happened.IMAGE_FAULT, Happened.MACHINE_FAULT)
PROCESS_ENDED = (Happened.CRASHED, Happened.KILLED)

RETRY = FailureMode.RETRY
#: Each row: what happened, the facts of the image that differ from Case's defaults, and what becomes of it.
ROWS = [
    # An image that nobody can use gets another seed, if its spec asks for retries.
    (Happened.IMAGE_FAULT, {}, Decision.FAIL),
    (Happened.IMAGE_FAULT, {"mode": FailureMode.DELIVER}, Decision.FAIL),
    (Happened.IMAGE_FAULT, {"mode": RETRY}, Decision.RETRY_NEXT_SEED),
    (Happened.IMAGE_FAULT, {"mode": RETRY, "attempts_left": False}, Decision.FAIL),
    # An image that the machine broke runs again as it was.
    (Happened.MACHINE_FAULT, {}, Decision.FAIL),
    (Happened.MACHINE_FAULT, {"mode": FailureMode.DELIVER}, Decision.FAIL),
    (Happened.MACHINE_FAULT, {"mode": RETRY}, Decision.RETRY_SAME_SEED),
    (Happened.MACHINE_FAULT, {"mode": RETRY, "attempts_left": False}, Decision.FAIL),
    # Any image of a failed batch may be to blame: each runs isolated, and so answers for itself.
    (Happened.BATCH_FAILED, {"shared": True}, Decision.ISOLATE),
    (Happened.REFUSED, {}, Decision.REQUEUE),
    (Happened.REFUSED, {"attempts_left": False}, Decision.REQUEUE),
    # Nobody is to blame for a box that is gone, unless it happens too often to one image.
    (Happened.DEVICE_LOST, {"suspect": False, "crashes": 1}, Decision.REQUEUE),
    (Happened.DEVICE_LOST, {"crashes": MOST_CRASHES - 1, "shared": True}, Decision.REQUEUE),
    (Happened.DEVICE_LOST, {"suspect": False, "crashes": MOST_CRASHES}, Decision.FAIL),
    (Happened.BATCH_FAILED, {"shared": True, "mode": RETRY, "attempts_left": False}, Decision.ISOLATE),
    (Happened.BATCH_FAILED, {}, Decision.FAIL),
    (Happened.BATCH_FAILED, {"mode": RETRY}, Decision.RETRY_SAME_SEED),
    (Happened.BATCH_FAILED, {"mode": RETRY, "attempts_left": False}, Decision.FAIL),
    # The same holds for the end of the GPU process, whether it crashed or was killed.
    *((happened, {"shared": True, "crashes": 1}, Decision.ISOLATE) for happened in PROCESS_ENDED),
    *((happened, {"shared": True, "crashes": 1, "mode": RETRY}, Decision.ISOLATE) for happened in PROCESS_ENDED),
    *((happened, {"crashes": 1}, Decision.FAIL) for happened in PROCESS_ENDED),
    *((happened, {"crashes": 4, "shared": True}, Decision.ISOLATE) for happened in PROCESS_ENDED),
    *((happened, {"crashes": 1, "mode": RETRY}, Decision.RETRY_SAME_SEED) for happened in PROCESS_ENDED),
    *((happened, {"crashes": 1, "mode": RETRY, "attempts_left": False}, Decision.FAIL) for happened in PROCESS_ENDED),
    # A bystander runs again with no attempt counted, but not for ever.
    *((happened, {"suspect": False, "crashes": 1}, Decision.REQUEUE) for happened in PROCESS_ENDED),
    *((happened, {"suspect": False, "crashes": 4, "shared": True}, Decision.REQUEUE) for happened in PROCESS_ENDED),
    *(
        (happened, {"suspect": False, "crashes": 4, "attempts_left": False}, Decision.REQUEUE)
        for happened in PROCESS_ENDED
    ),
    *((happened, {"suspect": False, "crashes": 5}, Decision.FAIL) for happened in PROCESS_ENDED),
    *((happened, {"shared": True, "crashes": 5}, Decision.FAIL) for happened in PROCESS_ENDED),
    *(
        (happened, {"suspect": False, "crashes": 5, "mode": RETRY}, Decision.RETRY_SAME_SEED)
        for happened in PROCESS_ENDED
    ),
    # A model that is gone does not come back by itself.
    (Happened.MODEL_REMOVED, {}, Decision.FAIL),
    (Happened.MODEL_REMOVED, {"mode": RETRY}, Decision.FAIL),
    # A model that could not be loaded is no image's fault: it is tried again for all, or given up for all.
    (Happened.LOAD_FAILED, {}, Decision.REQUEUE),
    (Happened.LOAD_FAILED, {"mode": RETRY, "attempts_left": False}, Decision.REQUEUE),
    (Happened.LOAD_GIVEN_UP, {}, Decision.FAIL),
    (Happened.LOAD_GIVEN_UP, {"mode": RETRY}, Decision.FAIL),
    # A restart of the server is nobody's fault, but a job may be what kills it.
    (Happened.SERVER_RESTARTED, {}, Decision.RETRY_SAME_SEED),
    (Happened.SERVER_RESTARTED, {"mode": FailureMode.DELIVER}, Decision.RETRY_SAME_SEED),
    (Happened.SERVER_RESTARTED, {"attempts_left": False}, Decision.FAIL),
    # The job of a withdrawn image was cancelled, or failed by another image, and ends as was decided.
    *((happened, {"withdrawn": True, "mode": RETRY, "shared": True}, Decision.END) for happened in Happened),
    *((happened, {"withdrawn": True, "suspect": False}, Decision.END) for happened in Happened),
]


@pytest.mark.parametrize(("happened", "image", "expected"), ROWS)
def test_every_row_of_the_table(happened: Happened, image: dict[str, object], expected: Decision) -> None:
    assert decide(Case(happened=happened, **image), MOST_CRASHES) is expected  # type: ignore[arg-type]


def every_case() -> list[Case]:
    flags = [False, True]
    return [
        Case(
            happened=happened,
            withdrawn=withdrawn,
            suspect=suspect,
            shared=shared,
            attempts_left=attempts_left,
            crashes=crashes,
            mode=mode,
        )
        for happened, withdrawn, suspect, shared, attempts_left, crashes, mode in itertools.product(
            Happened, flags, flags, flags, flags, range(MOST_CRASHES + 2), FailureMode
        )
    ]


def test_what_holds_for_every_case() -> None:
    cases = every_case()
    assert len(cases) == len(Happened) * 2**4 * 7 * 3
    for case in cases:
        decision = decide(case, MOST_CRASHES)
        assert (decision is Decision.END) == case.withdrawn
        if decision in (Decision.REQUEUE, Decision.ISOLATE):
            # These do not count as attempts, so something else must bound them: the crashes of the image, the tries of its
            # model, or that an image of a failed batch runs alone the next time. A device that refuses a model leaves it to
            # others.
            unbounded = (Happened.BATCH_FAILED, Happened.LOAD_FAILED, Happened.REFUSED)
            assert case.crashes < MOST_CRASHES or case.happened in unbounded
        if decision is Decision.ISOLATE:
            assert case.shared
        if decision is Decision.RETRY_NEXT_SEED:
            assert case.happened is Happened.IMAGE_FAULT
        if decision in (Decision.RETRY_NEXT_SEED, Decision.RETRY_SAME_SEED):
            assert case.attempts_left
            assert case.mode is RETRY or case.happened is Happened.SERVER_RESTARTED
