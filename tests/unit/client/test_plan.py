"""The next step of a batch for a row."""

import pytest
from backlot_client.batch.journal import Record, State
from backlot_client.batch.plan import KEY_SPAN_S, Next, next_for

SENT = 1_000_000.0
CASES = [
    ("never sent", None, False, 0.0, Next.SUBMIT),
    ("cut off a moment ago", State.SENDING, False, 1.0, Next.SUBMIT_AGAIN),
    ("cut off while the key is still good", State.SENDING, False, KEY_SPAN_S - 1, Next.SUBMIT_AGAIN),
    ("cut off when the key may be forgotten", State.SENDING, False, KEY_SPAN_S, Next.LOOK_FOR_JOB),
    ("sent at a time to come: the clock was set", State.SENDING, False, -1.0, Next.LOOK_FOR_JOB),
    ("paid", State.ACCEPTED, False, 1.0, Next.FOLLOW),
    ("paid long ago", State.ACCEPTED, False, 100 * KEY_SPAN_S, Next.FOLLOW),
    ("fetched", State.DONE, True, 1.0, Next.NOTHING),
    ("fetched, and its file removed", State.DONE, False, 1.0, Next.FOLLOW),
    ("failed and refunded", State.FAILED, False, 1.0, Next.SUBMIT),
    ("refused", State.REFUSED, False, 1.0, Next.SUBMIT_AGAIN),
    ("refused when the key may be forgotten", State.REFUSED, False, KEY_SPAN_S, Next.LOOK_FOR_JOB),
]


@pytest.mark.parametrize(
    ("state", "there", "later", "step"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_next(state: State | None, there: bool, later: float, step: Next) -> None:
    assert next_for(record_in(state), there, SENT + later) is step


def record_in(state: State | None) -> Record | None:
    if state is None:
        return None
    return Record(identity="r", state=state, job_number=1, idempotency_key="k", body="{}", sent_at=SENT)
