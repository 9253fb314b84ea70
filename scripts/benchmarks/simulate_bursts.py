"""Simulates bursts on an idle GPU: with slot groups that are taken back, and with a pause before an idle GPU opens slots.

The simulated GPU does one denoiser call after the other, whose seconds depend on its number of slots, and decodes one image
at a time. Everything else is the product's own: the queue, which images share slots, and which groups are taken back.
"""

import random
import statistics
from collections import deque
from collections.abc import Callable

import msgspec

from pipelines.batch_choice import BatchCost, BatchCosts, CostKey, Running
from pipelines.model_card import ModelCard
from server.scheduler.batching import Close, Enter, Open, SlotGroup, SlotGroups, TakeBack, has_room, next_action
from server.scheduler.queue import Affinity, BatchKey, Queue, Waiting

STEPS = 10
DECODE_S = 0.06
#: Seconds that an order takes to the process, or a report to the server.
MESSAGE_S = 0.002
#: Mean seconds between the requests of a burst.
APART_S = 0.003
KEY = BatchKey("sdxl", 1024, 1024, STEPS, 5.0)
CARD = ModelCard.from_flat(name="sdxl", licence="-", tiers=("1K",), steps=STEPS, guidance=5.0, max_batch=8)
SIZES = CARD.limits.allowed_batch_sizes
#: Seconds of a call by its slots: for one and four what an H200 took for SDXL (docs/decisions/slots.md), for two and eight
#: on the same line.
STEP_S = {size: 0.0933 + 0.0467 * size for size in SIZES}
COST_KEY = CostKey("sdxl", "a GPU", KEY.width, KEY.height)
COSTS = BatchCosts()
for _size, _seconds in STEP_S.items():
    COSTS.note(BatchCost(COST_KEY, _size, "revision", _seconds, 1))


class Policy(msgspec.Struct, frozen=True):
    takes_back: bool
    #: How long an idle GPU waits before it opens slots.
    pause_s: float = 0.0


POLICIES = {
    "neither": Policy(takes_back=False),
    "pause of 20 ms": Policy(takes_back=False, pause_s=0.02),
    "pause of 50 ms": Policy(takes_back=False, pause_s=0.05),
    "taken back": Policy(takes_back=True),
    "both, 20 ms": Policy(takes_back=True, pause_s=0.02),
}


class Result(msgspec.Struct):
    #: For each image the seconds from its arrival to its end.
    latencies: list[float] = []
    #: Seconds from the first arrival to the last end.
    makespan_s: float = 0.0
    #: Steps that were done, and those of them that were lost.
    steps: int = 0
    lost: int = 0


class Box:
    """One GPU and the server beside it."""

    def __init__(self, policy: Policy, arrivals: list[float]) -> None:
        """Take the moments at which images arrive."""
        self._policy = policy
        self._coming = deque(Waiting(str(index), 1, KEY, moment) for index, moment in enumerate(sorted(arrivals)))
        self._images = {image.image_id: image for image in self._coming}
        self._now = self._began = self._coming[0].arrived
        self._queue, self._affinity, self._groups = Queue(), Affinity(loaded={KEY.model: "revision"}), SlotGroups()
        #: In the GPU process: the images that wait for a slot, and for each image in a slot its steps so far.
        self._ordered: deque[tuple[str, SlotGroup]] = deque()
        self._slots: dict[str, int] = {}
        #: The images to be dropped, and when the group of each began.
        self._cancelled: dict[str, float | None] = {}
        self.result = Result()

    def play(self) -> Result:
        """Serve all images."""
        while self._coming or len(self._queue) or self._ordered or self._slots:
            self._follow_orders()
            if self._slots:
                self._step()
            elif self._groups.current is not None:
                self._pass(MESSAGE_S)
            else:
                self._pass(max(MESSAGE_S, self._next_moment() - self._now))
        self.result.makespan_s = self._now - self._began
        return self.result

    # ── the GPU process ──────────────────────────────────────────────────────────────────────────────────────────────

    def _follow_orders(self) -> None:
        for image_id, since in self._cancelled.items():
            if image_id in self._images:
                self._drop(image_id, since)
        self._cancelled.clear()
        self._feed()
        while self._ordered:
            image_id, group = self._ordered[0]
            if group is not self._groups.current or len(self._slots) == group.batch_size:
                return
            self._ordered.popleft()
            self._slots[image_id] = 0

    def _drop(self, image_id: str, since: float | None) -> None:
        self.result.lost += self._slots.pop(image_id, 0)
        self._ordered = deque(order for order in self._ordered if order[0] != image_id)
        self._leave(image_id)
        image = self._images[image_id]
        lost_s = image.lost_s + (0.0 if since is None else self._now - since)
        self._images[image_id] = msgspec.structs.replace(image, lost_s=lost_s)
        self._queue.give_back(self._images[image_id])

    def _step(self) -> None:
        assert self._groups.current is not None
        self._pass(STEP_S[self._groups.current.batch_size])
        self.result.steps += len(self._slots)
        for image_id in list(self._slots):
            self._slots[image_id] += 1
            if self._slots[image_id] == STEPS:
                self._pass(DECODE_S)
                del self._slots[image_id]
                self._leave(image_id)
                self.result.latencies.append(self._now - self._images.pop(image_id).arrived)

    # ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _next_moment(self) -> float:
        oldest = self._queue.oldest
        return self._coming[0].arrived if oldest is None else oldest + self._policy.pause_s

    def _pass(self, seconds: float) -> None:
        """Let time pass, in which images arrive."""
        until = self._now + seconds
        while self._coming and self._coming[0].arrived <= until:
            image = self._coming.popleft()
            self._now = max(self._now, image.arrived)
            self._queue.add(image)
            self._feed()
        self._now = until
        self._feed()

    def _leave(self, image_id: str) -> None:
        self._groups.leave([image_id])
        if self._groups.current is not None and self._groups.current.since is None:
            self._groups.current.since = self._now

    def _feed(self) -> None:
        oldest = self._queue.oldest
        if self._groups.current is None and oldest is not None and self._now < oldest + self._policy.pause_s:
            return
        while (action := self._next_action()) is not None:
            match action:
                case Open(image=image, batch_size=batch_size):
                    group = SlotGroup(image.key, CARD, batch_size, lost_s=image.lost_s)
                    if self._groups.current is None:
                        group.since = self._now
                    self._groups.open(group)
                    self._order(image, group)
                case Enter(image=image, group=group):
                    group.lost_s = max(group.lost_s, image.lost_s)
                    self._order(image, group)
                case Close(group=group):
                    group.closing = True
                case TakeBack(group=group):
                    group.taken_back = True
                    self._cancelled = dict.fromkeys(sorted(group.images, key=int, reverse=True), group.since)

    def _next_action(self) -> Open | Enter | Close | TakeBack | None:
        action = next_action(
            self._groups,
            self._queue,
            self._affinity,
            self._now,
            lambda _, images: COSTS.batch_size_for(COST_KEY, SIZES, images),
            self._should_begin_again,
        )
        if isinstance(action, TakeBack) and not self._policy.takes_back:
            return Close(action.group) if has_room(self._groups) else None
        return action

    def _should_begin_again(self, group: SlotGroup, waiting: int) -> bool:
        if group.since is None:
            return False
        running = Running(group.batch_size, len(group.images), self._now - group.since, group.lost_s)
        return COSTS.should_begin_again(COST_KEY, SIZES, STEPS, running, waiting)

    def _order(self, image: Waiting, group: SlotGroup) -> None:
        self._queue.take(image, self._now, self._affinity)
        group.images.add(image.image_id)
        self._ordered.append((image.image_id, group))


def burst(images: int) -> Callable[[random.Random], list[float]]:
    """Return a function that makes the arrivals of a burst."""
    return lambda rng: [rng.uniform(0, 2 * APART_S) + APART_S * index for index in range(images)]


def bursts(images: int, every_s: float) -> Callable[[random.Random], list[float]]:
    """Return a function that makes the arrivals of many bursts, which come independently of each other."""

    def arrivals(rng: random.Random) -> list[float]:
        moment, made = 0.0, []
        for _ in range(100):
            moment += rng.expovariate(1 / every_s)
            made += [moment + each for each in burst(images)(rng)]
        return made

    return arrivals


TRACES: dict[str, Callable[[random.Random], list[float]]] = {
    "one image": burst(1),
    "a burst of 2": burst(2),
    "a burst of 4": burst(4),
    "a burst of 8": burst(8),
    "4 images in 0.5 s": lambda rng: [rng.uniform(0, 0.5) for _ in range(4)],
    "one image each 2 s": bursts(1, 2.0),
    "one image each 0.7 s": bursts(1, 0.7),
    "a burst of 4 each 10 s": bursts(4, 10.0),
    "a burst of 8 each 10 s": bursts(8, 10.0),
}


def main() -> None:
    calls = ", ".join(f"{size}: {seconds:.3f} s" for size, seconds in STEP_S.items())
    print(f"{STEPS} steps, a call by slots {calls}; medians of 25 traces each\n")
    print(f"{'trace':24}{'policy':16}{'p50':>8}{'p95':>8}{'all':>9}{'steps lost':>12}")
    for name, make in TRACES.items():
        for label, policy in POLICIES.items():
            results = [Box(policy, make(random.Random(seed))).play() for seed in range(25)]
            p50, p95 = (
                statistics.median(_percentile(result.latencies, percent) for result in results) for percent in (50, 95)
            )
            makespan = statistics.median(result.makespan_s for result in results)
            lost = sum(result.lost for result in results) / sum(result.steps for result in results)
            print(f"{name:24}{label:16}{p50:6.2f} s{p95:6.2f} s{makespan:7.1f} s{lost:11.1%}")


def _percentile(values: list[float], percent: int) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
