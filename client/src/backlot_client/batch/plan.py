"""Decides what to do next for a row. Pure: one table shows that nothing is paid twice.

| state | what is known | next |
|---|---|---|
| no record | never sent | submit |
| sending or refused, key still good | maybe paid | submit again with the same key: if it was paid, the server says so |
| sending or refused, key too old | maybe paid | look for its job; submit only if there is none |
| accepted | paid | follow the job |
| done, files there | paid, fetched | nothing |
| done, a file missing | paid | fetch it again |
| failed | paid back, or never a job | submit as another job |

A refusal does not prove that nothing was paid: an earlier try may have made the job, and its answer may have been lost.
"""

from enum import Enum

from backlot_client.batch.journal import Record, State

#: Seconds that a key is trusted after its first use. The server keeps it for 24 h; the rest is for clocks that differ.
KEY_SPAN_S = 22 * 3600.0


class Next(Enum):
    SUBMIT = "submit"
    SUBMIT_AGAIN = "submit again"
    LOOK_FOR_JOB = "look for the job"
    FOLLOW = "follow"
    NOTHING = "nothing"


def next_for(record: Record | None, files_are_there: bool, now: float) -> Next:
    """Return what to do next for a row. `now` is Unix time."""
    if record is None or record.state is State.FAILED:
        return Next.SUBMIT
    if record.state in (State.SENDING, State.REFUSED):
        return Next.SUBMIT_AGAIN if 0 <= now - record.sent_at < KEY_SPAN_S else Next.LOOK_FOR_JOB
    if record.state is State.DONE and files_are_there:
        return Next.NOTHING
    return Next.FOLLOW
