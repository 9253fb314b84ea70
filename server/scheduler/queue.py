"""Chooses the waiting image that goes to a GPU next. Pure: no I/O, no clock of its own, no randomness, and no state of a GPU.

Weighted fair queueing between flows (start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996). A flow is the images of
one client and priority; each step of priority doubles its share. Every image advances its flow's virtual time by one over
the share, and the flow that is furthest behind goes first. A flow that was idle starts at the present virtual time, so it
can neither save up a claim nor be starved. Within a flow the oldest image goes first.

Images of one batch key share slots; another key needs other slots, and another model must perhaps be loaded first. While a
GPU serves one key, images of that key go before an image that is more due but of another key. Once the more due image has
waited for the GPU's patience, it goes next. So models are swapped rarely, but no swap is put off for ever. If other GPUs
serve a model soon enough, which `placement` decides, a GPU passes over its images.

Images that the operator moved to the front go before every flow, and no patience delays them.

The time of a decision grows with the number of flows and their batch keys, and with the logarithm of the number of waiting
images.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence, Set
from itertools import count
from math import ceil, inf

import msgspec
from sortedcontainers import SortedList

from pipelines.lora import Lora
from pipelines.upscale import SecondPass


class BatchKey(msgspec.Struct, frozen=True):
    """Images with equal keys can share slots."""

    model: str
    width: int
    height: int
    steps: int
    guidance: float
    #: In the order of their names.
    loras: tuple[Lora, ...] = ()
    second: SecondPass | None = None
    #: Whether keeps_negatives_apart of pipelines/denoising/families.py holds for the images.
    negative: bool = False

    @property
    def all_steps(self) -> int:
        """The steps of both passes."""
        return self.steps + (self.second.steps if self.second is not None else 0)


class Waiting(msgspec.Struct, frozen=True):
    """An image that waits for a GPU."""

    image_id: str
    client_id: int
    key: BatchKey
    #: When it arrived, in seconds on the clock that decisions are given.
    arrived: float
    #: It shares slots with no other image.
    isolated: bool = False
    #: Each step doubles its flow's share.
    priority: int = 0
    #: The operator moved it before all others.
    front: bool = False
    #: Seconds that it has lost because it was taken back from slots.
    lost_s: float = 0.0


class Affinity(msgspec.Struct):
    """The models and the batch key that one GPU has at hand.

    Each GPU owns one Affinity. The queue reads it to choose for that GPU, and notes in it what the GPU took.
    """

    #: The models in its memory, and their revisions.
    loaded: dict[str, str] = msgspec.field(default_factory=dict)
    #: The key of the image that it took last.
    key: BatchKey | None = None
    #: When it turned to that key.
    key_since: float = -inf
    #: When it last turned to a model that had to be loaded.
    load_since: float = -inf

    def note(self, key: BatchKey, now: float) -> None:
        """Note that the GPU takes an image of this key."""
        if (self.key is None or self.key.model != key.model) and key.model not in self.loaded:
            # Only a load counts: changes between models in memory may not put off a model that waits to be loaded.
            self.load_since = now
        if self.key != key:
            self.key_since = now
        self.key = key


class _Flow:
    """The waiting images of one client and priority: by batch key, and the oldest first in each."""

    def __init__(self, virtual_time: float, priority: int) -> None:
        self.virtual_time = virtual_time
        self.share = 2.0**priority
        #: An OrderedDict is a queue from whose middle an image can be taken in constant time.
        self.lanes: dict[BatchKey, OrderedDict[int, Waiting]] = {}
        #: The tickets of all lanes, ascending.
        self.tickets: SortedList[int] = SortedList()

    def oldest(self, fits: Callable[[BatchKey], bool]) -> tuple[int, Waiting] | None:
        """Return the oldest image among the lanes whose key fits, with its ticket."""
        heads = [next(iter(lane.items())) for key, lane in self.lanes.items() if fits(key)]
        return min(heads, key=lambda head: head[0]) if heads else None


class Queue:
    """The waiting images of all clients; any number of GPUs take from it, unless the operator has paused it."""

    def __init__(self, model_patience_s: float = 30.0, size_patience_s: float = 5.0) -> None:
        #: How long a GPU may pass over an image whose model it would have to load.
        self.model_patience_s = model_patience_s
        #: How long it may pass over an image of a loaded model that needs other slots.
        self.size_patience_s = size_patience_s
        #: No image is given out; images may still be added, moved and removed.
        self.paused = False
        self._flows: dict[tuple[int, int], _Flow] = {}
        #: Virtual times of empty flows that are ahead of the present one. Such a flow keeps its own when images come again.
        self._ahead: dict[tuple[int, int], float] = {}
        self._tickets: dict[str, tuple[int, Waiting]] = {}
        self._by_key: Counter[BatchKey] = Counter()
        self._next_ticket = count()
        self._returned_ticket = count(-1, -1)
        self._virtual_time = 0.0

    def __len__(self) -> int:
        return len(self._tickets)

    @property
    def waiting(self) -> Mapping[BatchKey, int]:
        """How many images wait, by their key."""
        return self._by_key

    def waiting_for(self, key: BatchKey) -> int:
        """Return how many images of this key wait."""
        return self._by_key[key]

    @property
    def oldest(self) -> float | None:
        """Return when the image arrived that has waited longest; None if none waits. It looks at every image."""
        return min((image.arrived for _, image in self._tickets.values()), default=None)

    def add(self, image: Waiting) -> None:
        """Add an image behind the others of its flow. Raises ValueError if it waits already."""
        self._put(next(self._next_ticket), image)

    def put_back(self, image: Waiting) -> None:
        """Add an image that must run again before the others of its flow. Raises ValueError if it waits already."""
        self._put(next(self._returned_ticket), image)

    def give_back(self, image: Waiting) -> None:
        """Add an image that was taken, as if it had not been. Raises ValueError if it waits already."""
        self.put_back(image)
        flow = self._flows[_flow_of(image)]
        flow.virtual_time -= 1 / flow.share

    def move_to_front(self, image_ids: Sequence[str]) -> None:
        """Let those of these images that wait go before all others, in this order, whatever is loaded.

        They do not count against the share of their client.
        """
        for image_id in reversed(image_ids):
            found = self._tickets.pop(image_id, None)
            if found is not None:
                self._drop(*found)
                self.put_back(msgspec.structs.replace(found[1], front=True))

    def remove(self, image_id: str) -> bool:
        """Remove an image and return whether it waited."""
        found = self._tickets.pop(image_id, None)
        if found is None:
            return False
        self._drop(*found)
        return True

    def position(self, image_id: str) -> int | None:
        """Return how many images go before this one by fairness alone, whatever their keys; None if it does not wait."""
        if image_id not in self._tickets:
            return None
        ticket, image = self._tickets[image_id]
        own = self._flows[_flow_of(image)]
        before = int(own.tickets.bisect_left(ticket))
        return before + self._before(own.virtual_time + before / own.share, ticket, own)

    def has_images_of(self, client_id: int) -> bool:
        """Return whether an image of this client waits; those that the operator moved to the front are no one's."""
        return any(owner == client_id for owner, _ in self._flows)

    def position_behind(self, client_id: int, priority: int) -> int:
        """Return the position that an image of this client and priority would have if it were added now."""
        name = (client_id, priority)
        own = self._flows.get(name)
        start = max(self._virtual_time, self._ahead.get(name, 0.0)) if own is None else own.virtual_time
        before = 0 if own is None else len(own.tickets)
        return before + self._before(start + before / 2.0**priority, None, own)

    def _before(self, due: float, ticket: int | None, own: _Flow | None) -> int:
        """Return how many images of other flows go before one that is due at this virtual time.

        Of two that are due at the same time the older one goes first; an image without a ticket is the youngest.
        """
        before = 0
        for flow in self._flows.values():
            ahead = (due - flow.virtual_time) * flow.share
            if flow is own or ahead < 0:
                continue
            if ahead == inf:
                before += len(flow.tickets)
                continue
            equal = int(ahead)
            tie = equal == ahead and equal < len(flow.tickets) and (ticket is None or flow.tickets[equal] < ticket)
            before += min(len(flow.tickets), ceil(ahead) + int(tie))
        return before

    def next(self, now: float, gpu: Affinity, elsewhere: Set[BatchKey] = frozenset()) -> Waiting | None:
        """Return the image that opens the next slots of this GPU, and leave it in the queue. A paused queue gives none.

        Its key is not in `elsewhere`: images of those keys this GPU leaves in the queue.
        """
        if self.paused:
            return None
        due = self._most_due(lambda key: key not in elsewhere)
        if due is None or not gpu.loaded or due.key.model in gpu.loaded or not self._may_wait(due, now, gpu):
            return due
        return self._most_due(lambda key: key.model in gpu.loaded and key not in elsewhere) or due

    def next_for(
        self, key: BatchKey, now: float, gpu: Affinity, elsewhere: Set[BatchKey] = frozenset()
    ) -> Waiting | None:
        """Return the image that may enter open slots of this key, and leave it in the queue.

        Return None if no image of this key waits or all are left elsewhere, if the slots must make way for another key, or if
        the queue is paused.
        """
        if self.paused or key not in self._by_key or key in elsewhere:
            return None
        due = self._most_due(lambda other: other not in elsewhere)
        if due is None or due.key == key or self._may_wait(due, now, gpu):
            return self._most_due(lambda other: other == key)
        return None

    def take(self, image: Waiting, now: float, gpu: Affinity) -> None:
        """Remove an image that was chosen for this GPU, and charge its flow for it."""
        gpu.note(image.key, now)
        flow = self._flows[_flow_of(image)]
        self._virtual_time = max(self._virtual_time, flow.virtual_time)
        flow.virtual_time += 1 / flow.share
        self.remove(image.image_id)
        if len(self._ahead) > 2 * len(self._flows) + 64:
            self._ahead = {name: time for name, time in self._ahead.items() if time > self._virtual_time}

    def _may_wait(self, due: Waiting, now: float, gpu: Affinity) -> bool:
        """Return whether the GPU may still pass over the image that is most due."""
        if due.front:
            return False
        if due.key.model in gpu.loaded:
            return now - max(due.arrived, gpu.key_since) < self.size_patience_s
        return now - max(due.arrived, gpu.load_since) < self.model_patience_s

    def _most_due(self, fits: Callable[[BatchKey], bool]) -> Waiting | None:
        """Return the oldest fitting image of the flow that is furthest behind among those that have one."""
        heads = [(flow.virtual_time, *head) for flow in self._flows.values() if (head := flow.oldest(fits)) is not None]
        return min(heads, key=lambda head: head[:2])[2] if heads else None

    def _put(self, ticket: int, image: Waiting) -> None:
        if image.image_id in self._tickets:
            raise ValueError(f"image {image.image_id} waits already")
        flow = self._flows.get(_flow_of(image))
        if flow is None:
            start = -inf if image.front else max(self._virtual_time, self._ahead.pop(_flow_of(image), 0.0))
            flow = self._flows[_flow_of(image)] = _Flow(start, 0 if image.front else image.priority)
        lane = flow.lanes.setdefault(image.key, OrderedDict())
        lane[ticket] = image
        if ticket < 0:
            lane.move_to_end(ticket, last=False)
        flow.tickets.add(ticket)
        self._tickets[image.image_id] = (ticket, image)
        self._by_key[image.key] += 1

    def _drop(self, ticket: int, image: Waiting) -> None:
        flow = self._flows[_flow_of(image)]
        del flow.lanes[image.key][ticket]
        flow.tickets.remove(ticket)
        if not flow.lanes[image.key]:
            del flow.lanes[image.key]
        if not flow.lanes:
            del self._flows[_flow_of(image)]
            if flow.virtual_time > self._virtual_time:
                self._ahead[_flow_of(image)] = flow.virtual_time
        self._by_key[image.key] -= 1
        if not self._by_key[image.key]:
            del self._by_key[image.key]


#: The flow of images that were moved to the front. Its virtual time stays behind all others. No client has this id.
_FRONT = (-1, 0)


def _flow_of(image: Waiting) -> tuple[int, int]:
    return _FRONT if image.front else (image.client_id, image.priority)
