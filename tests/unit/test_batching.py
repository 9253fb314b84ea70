"""Slot groups: when they open, which images enter them, and when they close or are taken back."""

import pytest

from pipelines.model_card import ModelCard
from server.scheduler.batching import (
    AHEAD,
    Close,
    Enter,
    Open,
    SlotGroup,
    SlotGroups,
    TakeBack,
    may_act,
    next_action,
)
from server.scheduler.queue import Affinity, BatchKey, Queue, Waiting


def key(model: str = "a", width: int = 512) -> BatchKey:
    return BatchKey(model, width, 512, 4, 1.0)


def card(name: str = "a") -> ModelCard:
    return ModelCard.from_flat(name=name, licence="made for tests", tiers=("0.5K",), steps=4, guidance=1.0, max_batch=8)


class Gpu:
    """A GPU that carries out the decisions, as the server does, with a batch size of its choice."""

    def __init__(self, queue: Queue, batch_size: int = 2, *, begins_again: bool = False) -> None:
        self.queue = queue
        self.batch_size = batch_size
        self.begins_again = begins_again
        self.sent: dict[str, Waiting] = {}
        self.affinity = Affinity(loaded={"a": "revision"})
        self.groups = SlotGroups()

    def fill(self, now: float = 0.0) -> list[str]:
        """Do everything that can be done; return the images sent."""
        sent = []
        while (action := self.decide(now)) is not None:
            match action:
                case Open(image=image, batch_size=batch_size):
                    group = SlotGroup(image.key, card(image.key.model), batch_size, closing=image.isolated)
                    self.groups.open(group)
                case Enter(image=image, group=group):
                    pass
                case Close(group=group):
                    group.closing = True
                    continue
                case TakeBack(group=group):
                    group.taken_back = True
                    continue
            self.queue.take(image, now, self.affinity)
            group.images.add(image.image_id)
            self.sent[image.image_id] = image
            sent.append(image.image_id)
        return sent

    def decide(self, now: float = 0.0) -> Open | Enter | Close | TakeBack | None:
        def choose(_: BatchKey, images: int) -> int:
            return min(self.batch_size, images)

        def should_begin_again(group: SlotGroup, waiting: int) -> bool:
            assert group is self.groups.current
            assert waiting > 0
            return self.begins_again

        action = next_action(self.groups, self.queue, self.affinity, now, choose, should_begin_again)
        assert action is None or may_act(self.groups)
        return action

    def give_back(self) -> list[str]:
        """Put the images that are taken back into the queue again, as if the GPU process had dropped them; return them."""
        taken = sorted(image_id for group in self.groups if group.taken_back for image_id in group.images)
        self.groups.leave(taken)
        for image_id in reversed(taken):
            self.queue.give_back(self.sent[image_id])
        return taken


def queue_of(*images: str, width: int = 512, isolated: bool = False) -> Queue:
    queue = Queue()
    add(queue, *images, width=width, isolated=isolated)
    return queue


def add(queue: Queue, *images: str, width: int = 512, isolated: bool = False, model: str = "a") -> None:
    for image in images:
        queue.add(Waiting(image, 1, key(model, width), 0.0, isolated))


def test_nothing_waits_and_nothing_is_done() -> None:
    assert Gpu(Queue()).decide() is None


def test_slots_are_filled_and_one_image_is_sent_ahead() -> None:
    gpu = Gpu(queue_of("1", "2", "3", "4"))
    assert gpu.fill() == ["1", "2", "3"]
    assert gpu.groups.open_slots == 2
    assert AHEAD == 1
    assert gpu.groups.leave(["2"])
    assert gpu.fill() == ["4"]


def test_a_group_stays_open_for_what_may_come() -> None:
    gpu = Gpu(queue_of("1", "2"))
    assert gpu.fill() == ["1", "2"]
    add(gpu.queue, "3")
    assert gpu.fill() == ["3"]


def test_what_needs_other_slots_is_sent_ahead_once_and_opens_when_the_slots_are_empty() -> None:
    gpu = Gpu(queue_of("1", "2"))
    gpu.fill()
    add(gpu.queue, "wide-1", "wide-2", width=768)
    assert gpu.fill() == ["wide-1"]
    add(gpu.queue, "3")
    # The current group is closing, and the following one has its one image.
    assert gpu.decide() is None
    gpu.groups.leave(["1", "2"])
    assert gpu.groups.current is not None
    assert gpu.groups.current.images == {"wide-1"}
    assert gpu.groups.following is None
    assert gpu.fill() == ["wide-2", "3"]


def test_more_slots_are_opened_when_they_are_worth_it() -> None:
    gpu = Gpu(queue_of("1"), batch_size=4)
    assert gpu.fill() == ["1"]
    assert gpu.groups.open_slots == 1
    add(gpu.queue, "2", "3", "4")
    # One slot is open, and four images would fill four.
    assert gpu.fill() == ["2"]
    assert gpu.groups.following is not None
    assert gpu.groups.following.batch_size == 3
    gpu.groups.leave(["1"])
    assert gpu.fill() == ["3", "4"]


def test_a_burst_on_an_idle_gpu_begins_again_together() -> None:
    gpu = Gpu(queue_of("1"), batch_size=4, begins_again=True)
    assert gpu.fill() == ["1"]
    add(gpu.queue, "2")
    assert gpu.fill() == []
    add(gpu.queue, "3", "4")
    # Nothing opens until the process has dropped the first image.
    assert gpu.fill() == []
    assert gpu.give_back() == ["1"]
    assert gpu.fill() == ["1", "2", "3", "4"]
    assert gpu.groups.open_slots == 4


def test_a_burst_grows_the_following_group_as_long_as_that_has_not_begun() -> None:
    gpu = Gpu(queue_of("1"), batch_size=4)
    assert gpu.fill() == ["1"]
    add(gpu.queue, "2")
    assert gpu.fill() == ["2"]
    add(gpu.queue, "3")
    assert gpu.fill() == []
    assert gpu.give_back() == ["2"]
    assert gpu.groups.open_slots == 1, "the group that runs goes on"
    assert gpu.fill() == ["2"]
    gpu.groups.leave(["1"])
    assert gpu.fill() == ["3"]
    assert gpu.groups.open_slots == 2
    # The group runs now, so its steps would be lost.
    add(gpu.queue, "4")
    assert gpu.fill() == ["4"]
    assert [group.batch_size for group in gpu.groups] == [2, 1]


def test_a_group_is_taken_back_though_it_has_no_room() -> None:
    gpu = Gpu(queue_of("1"), batch_size=1, begins_again=True)
    add(gpu.queue, "2")
    assert gpu.fill() == ["1", "2"]
    assert not gpu.decide()
    gpu.batch_size = 4
    add(gpu.queue, "3")
    assert isinstance(gpu.decide(), TakeBack)


@pytest.mark.parametrize(
    "because",
    [
        "nothing waits",
        "another key goes next",
        "what waits shares no slots",
        "no larger group is better",
        "it would not be sooner",
        "the model is not in memory",
        "the card was edited",
        "the queue is paused",
        "it is on its way back",
    ],
)
def test_a_group_is_left_alone(because: str) -> None:
    gpu = Gpu(queue_of("1"), batch_size=4, begins_again=True)
    gpu.fill()
    (group,) = gpu.groups
    if because == "another key goes next":
        add(gpu.queue, "wide", width=768)
    if because != "nothing waits":
        add(gpu.queue, "2", "3", isolated=because == "what waits shares no slots")
    if because == "no larger group is better":
        gpu.batch_size = 1
    if because == "it would not be sooner":
        gpu.begins_again = False
    if because == "the model is not in memory":
        gpu.affinity.loaded.clear()
    group.closing = because == "the card was edited"
    gpu.queue.paused = because == "the queue is paused"
    group.taken_back = because == "it is on its way back"
    assert not isinstance(gpu.decide(), TakeBack)


def test_an_isolated_image_shares_with_nobody() -> None:
    gpu = Gpu(queue_of("1"))
    add(gpu.queue, "lonely", isolated=True)
    add(gpu.queue, "2")
    assert gpu.fill() == ["1", "lonely"]
    gpu.groups.leave(["1"])
    assert gpu.fill() == ["2"]
    assert [group.images for group in gpu.groups] == [{"lonely"}, {"2"}]


def test_a_following_group_whose_only_image_is_dropped_is_gone() -> None:
    gpu = Gpu(queue_of("1"))
    gpu.fill()
    add(gpu.queue, "wide", width=768)
    gpu.fill()
    assert gpu.groups.leave(["wide"])
    assert gpu.groups.following is None
    assert not gpu.groups.leave(["wide"])


def test_a_group_knows_its_new_batch_size() -> None:
    gpu = Gpu(queue_of("1", "2", "3", "4", "5", "6"), batch_size=4)
    assert gpu.fill() == ["1", "2", "3", "4", "5"]
    gpu.batch_size = 2
    gpu.groups.resize(["1", "2", "3", "4"], 2)
    assert gpu.groups.open_slots == 2
    gpu.groups.leave(["1", "2"])
    assert gpu.decide() is None
    gpu.groups.leave(["3"])
    assert gpu.fill() == ["6"]


def test_a_paused_queue_leaves_open_slots_open() -> None:
    queue = queue_of("a", "b")
    gpu = Gpu(queue)
    assert gpu.fill() == ["a", "b"]
    add(queue, "c")
    queue.paused = True
    gpu.groups.leave(["a"])
    assert gpu.fill() == []
    queue.paused = False
    assert gpu.fill() == ["c"]
    assert [group.closing for group in gpu.groups] == [False]
