"""Which waiting job runs next. Pure: no I/O, no clock of its own, no randomness.

Weighted fair queueing between flows (start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996). A flow is the jobs of
one client and priority; each step of priority doubles its share. Every image advances its flow's virtual time by
one over the share, and the flow that is furthest behind goes first; a flow that was idle starts at the present virtual
time, so it can neither save up turns nor be starved. Within a flow the oldest job goes first.

The GPU works in turns: images of one model and size share slots, and another model must first be loaded. While a turn
lasts, jobs that fit it are preferred over a job that is more due but does not; once that one has waited out the turn's
patience it goes next. So swapping is paid rarely, but never put off for ever.

A decision costs time in the number of flows and their batch keys, and in the logarithm of the jobs that wait.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from itertools import count
from math import ceil, inf

import msgspec
from sortedcontainers import SortedList


class BatchKey(msgspec.Struct, frozen=True):
    """Jobs with equal keys can share slots."""

    model: str
    width: int
    height: int
    steps: int
    guidance: float


class Waiting(msgspec.Struct, frozen=True):
    job_id: str
    client_id: int
    key: BatchKey
    #: Seconds on the clock that decisions are given.
    arrived: float
    #: Share slots with nobody.
    alone: bool = False
    #: Each step doubles the share of the GPU.
    priority: int = 0


class _Flow:
    """One client's waiting jobs of one priority: by batch key, oldest first in each."""

    def __init__(self, virtual_time: float, priority: int) -> None:
        self.virtual_time = virtual_time
        self.share = 2.0**priority
        #: An OrderedDict is a queue from whose middle a cancelled job can be taken in constant time.
        self.lanes: dict[BatchKey, OrderedDict[int, Waiting]] = {}
        #: Tickets of all lanes, ascending.
        self.tickets: SortedList[int] = SortedList()

    def oldest(self, fits: Callable[[BatchKey], bool]) -> tuple[int, Waiting] | None:
        """The oldest job among the lanes that fit, with its ticket."""
        heads = [next(iter(lane.items())) for key, lane in self.lanes.items() if fits(key)]
        return min(heads, key=lambda head: head[0]) if heads else None


class Queue:
    def __init__(self, model_patience_s: float = 30.0, size_patience_s: float = 5.0) -> None:
        #: How long a turn may pass over a job whose model would have to be loaded first.
        self.model_patience_s = model_patience_s
        #: How long it may pass over one of a model in memory that needs other slots.
        self.size_patience_s = size_patience_s
        self._flows: dict[tuple[int, int], _Flow] = {}
        #: Virtual times of flows without waiting jobs that are ahead of the present one; they may not fall back to it.
        self._ahead: dict[tuple[int, int], float] = {}
        self._tickets: dict[str, tuple[int, Waiting]] = {}
        self._by_key: Counter[BatchKey] = Counter()
        self._next_ticket = count()
        self._returned_ticket = count(-1, -1)
        self._virtual_time = 0.0
        self._turn: BatchKey | None = None
        self._model_turn_began = -inf
        self._size_turn_began = -inf

    def __len__(self) -> int:
        return len(self._tickets)

    def waiting_for(self, key: BatchKey) -> int:
        """How many jobs of this key wait."""
        return self._by_key[key]

    def add(self, job: Waiting) -> None:
        """Raises ValueError where the job waits already."""
        self._put(next(self._next_ticket), job)

    def put_back(self, job: Waiting) -> None:
        """Add a job that ran and must run again, before all others of its flow."""
        self._put(next(self._returned_ticket), job)

    def remove(self, job_id: str) -> bool:
        """Take a job out; False where it does not wait."""
        found = self._tickets.pop(job_id, None)
        if found is None:
            return False
        self._drop(*found)
        return True

    def position(self, job_id: str) -> int | None:
        """How many waiting jobs go before this one under fair turns, leaving keys aside; None where it does not wait."""
        if job_id not in self._tickets:
            return None
        ticket, job = self._tickets[job_id]
        own = self._flows[_flow_of(job)]
        before = int(own.tickets.bisect_left(ticket))
        turn = own.virtual_time + before / own.share
        for flow in self._flows.values():
            ahead = (turn - flow.virtual_time) * flow.share
            if flow is own or ahead < 0:
                continue
            # Jobs whose turn comes at a smaller virtual time, and at an equal one the older of the two.
            equal = int(ahead)
            tie = equal == ahead and equal < len(flow.tickets) and flow.tickets[equal] < ticket
            before += min(len(flow.tickets), ceil(ahead) + int(tie))
        return before

    def next(self, now: float, resident: Collection[str]) -> Waiting | None:
        """The job that opens the next slots, left in the queue. `resident` are the models in memory."""
        due = self._most_due(lambda _: True)
        if due is None or not resident or due.key.model in resident or not self._may_wait(due, now, resident):
            return due
        return self._most_due(lambda key: key.model in resident) or due

    def next_for(self, key: BatchKey, now: float, resident: Collection[str]) -> Waiting | None:
        """The job that may enter open slots of this key, left in the queue; None where they must make way, or none waits."""
        if not self._by_key[key]:
            return None
        due = self._most_due(lambda _: True)
        if due is None or due.key == key or self._may_wait(due, now, resident):
            return self._most_due(lambda other: other == key)
        return None

    def take(self, job: Waiting, now: float, resident: Collection[str]) -> None:
        """Take out a job that was chosen; its flow is charged for it."""
        other = self._turn is None or self._turn.model != job.key.model
        if other and job.key.model not in resident:
            # Turns of models in memory cost no load, so however they alternate they put off nobody's.
            self._model_turn_began = now
        if self._turn != job.key:
            self._size_turn_began = now
        self._turn = job.key
        flow = self._flows[_flow_of(job)]
        self._virtual_time = max(self._virtual_time, flow.virtual_time)
        flow.virtual_time += 1 / flow.share
        self.remove(job.job_id)
        if len(self._ahead) > 2 * len(self._flows) + 64:
            self._ahead = {name: time for name, time in self._ahead.items() if time > self._virtual_time}

    def _may_wait(self, due: Waiting, now: float, resident: Collection[str]) -> bool:
        """Whether the present turn may go on before a job that is more due."""
        if due.key.model in resident:
            return now - max(due.arrived, self._size_turn_began) < self.size_patience_s
        return now - max(due.arrived, self._model_turn_began) < self.model_patience_s

    def _most_due(self, fits: Callable[[BatchKey], bool]) -> Waiting | None:
        """The oldest fitting job of the flow furthest behind, among flows that have one."""
        heads = [(flow.virtual_time, *head) for flow in self._flows.values() if (head := flow.oldest(fits)) is not None]
        return min(heads, key=lambda head: head[:2])[2] if heads else None

    def _put(self, ticket: int, job: Waiting) -> None:
        if job.job_id in self._tickets:
            raise ValueError(f"job {job.job_id} waits already")
        flow = self._flows.get(_flow_of(job))
        if flow is None:
            start = max(self._virtual_time, self._ahead.pop(_flow_of(job), 0.0))
            flow = self._flows[_flow_of(job)] = _Flow(start, job.priority)
        lane = flow.lanes.setdefault(job.key, OrderedDict())
        lane[ticket] = job
        if ticket < 0:
            lane.move_to_end(ticket, last=False)
        flow.tickets.add(ticket)
        self._tickets[job.job_id] = (ticket, job)
        self._by_key[job.key] += 1

    def _drop(self, ticket: int, job: Waiting) -> None:
        flow = self._flows[_flow_of(job)]
        del flow.lanes[job.key][ticket]
        flow.tickets.remove(ticket)
        if not flow.lanes[job.key]:
            del flow.lanes[job.key]
        if not flow.lanes:
            del self._flows[_flow_of(job)]
            if flow.virtual_time > self._virtual_time:
                self._ahead[_flow_of(job)] = flow.virtual_time
        self._by_key[job.key] -= 1
        if not self._by_key[job.key]:
            del self._by_key[job.key]


def _flow_of(job: Waiting) -> tuple[int, int]:
    return (job.client_id, job.priority)
