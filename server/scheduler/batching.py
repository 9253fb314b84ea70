"""Decides which images share slots: when a slot group opens, what enters it, when it closes, and when it is taken back. Pure.

A GPU has at most two slot groups: the current one, and the following one, which opens when the current one is empty. One
image is sent ahead of the open slots, so that a slot that frees is filled at once. The first image of the following group
is sent early, so that its model can be read meanwhile.

A group opens with the number of slots that is best for the images that wait at that moment. If more come soon after, as in a
burst, the group's images may be taken back into the queue, so that a larger group opens with all of them. Images of the
following group lose nothing by it. Those of the current group lose their steps, so it must have begun only a moment ago, and
by the measured costs the images must be generated clearly sooner.
"""

from collections.abc import Callable, Iterable, Iterator, Set

import msgspec

from pipelines.model_card import ModelCard
from server.scheduler.queue import Affinity, BatchKey, Queue, Waiting

#: Images sent beyond the open slots.
AHEAD = 1


class SlotGroup(msgspec.Struct):
    """Slots of one batch key, open or about to be. It lasts for as long as it has images."""

    key: BatchKey
    #: The model's card when the group was opened. Its images finish on that card, whatever models.toml says by then.
    card: ModelCard
    #: How many slots there are.
    batch_size: int
    #: The images that were sent and have not left their slot.
    images: set[str] = msgspec.field(default_factory=set)
    #: No image enters any more.
    closing: bool = False
    #: Its image runs alone, to show whether it is to blame: nothing is prefetched beside it.
    isolated: bool = False
    #: The least bytes that an image of its model takes beside the weights; None if not measured.
    image_bytes: int | None = None
    #: When its images began, with their model in memory, in seconds on the monotonic clock; None if they have not.
    since: float | None = None
    #: The GPU process was ordered to drop its images, which go back into the queue.
    taken_back: bool = False
    #: The most seconds that one of its images has lost because it was taken back.
    lost_s: float = 0.0


class SlotGroups(msgspec.Struct):
    """The slot groups of one GPU."""

    current: SlotGroup | None = None
    following: SlotGroup | None = None

    def __iter__(self) -> Iterator[SlotGroup]:
        return (group for group in (self.current, self.following) if group is not None)

    @property
    def last(self) -> SlotGroup | None:
        """The group that images may still enter; None if there is no group."""
        return self.following or self.current

    @property
    def open_slots(self) -> int:
        """How many slots the current group has."""
        return 0 if self.current is None else self.current.batch_size

    def open(self, group: SlotGroup) -> None:
        """Add a group behind the current one, which must be the only one."""
        if self.current is None:
            self.current = group
        else:
            self.following = group

    def leave(self, image_ids: Iterable[str]) -> bool:
        """Note that images left their slots, and return whether any of them had one."""
        gone = set(image_ids)
        had_slots = False
        for group in self:
            had_slots = had_slots or not group.images.isdisjoint(gone)
            group.images -= gone
        if self.following is not None and not self.following.images:
            self.following = None
        if self.current is not None and not self.current.images:
            self.current, self.following = self.following, None
        return had_slots

    def resize(self, image_ids: Iterable[str], batch_size: int) -> None:
        """Note that the group of these images has another number of slots now."""
        moved = set(image_ids)
        for group in self:
            if not group.images.isdisjoint(moved):
                group.batch_size = batch_size

    def of_model(self, model: str) -> set[str]:
        """Return the images of a model's groups."""
        return {image_id for group in self if group.key.model == model for image_id in group.images}


class Open(msgspec.Struct, frozen=True):
    """Open a slot group with this image."""

    image: Waiting
    batch_size: int


class Enter(msgspec.Struct, frozen=True):
    """Send this image into this slot group."""

    image: Waiting
    group: SlotGroup


class Close(msgspec.Struct, frozen=True):
    """Let nothing more enter this slot group."""

    group: SlotGroup


class TakeBack(msgspec.Struct, frozen=True):
    """Call the images of this slot group back into the queue, so that a larger one opens."""

    group: SlotGroup


#: Returns the best batch size for this key and number of images.
BatchSizeFor = Callable[[BatchKey, int], int]
#: Returns whether the images of the current group should begin again, together with this number of waiting ones.
ShouldBeginAgain = Callable[[SlotGroup, int], bool]


def has_room(groups: SlotGroups) -> bool:
    """Return whether a GPU could be sent an image, for its last group or for another one."""
    group = groups.last
    if group is None or group.closing:
        return groups.following is None
    return len(group.images) < (AHEAD if group is groups.following else group.batch_size + AHEAD)


def may_act(groups: SlotGroups) -> bool:
    """Return whether anything could be done for a GPU now, as far as that can be told without the queue."""
    group = groups.last
    if group is None or has_room(groups):
        return True
    return not group.closing and not group.taken_back and group.batch_size < group.card.limits.allowed_batch_sizes[-1]


def next_action(
    groups: SlotGroups,
    queue: Queue,
    gpu: Affinity,
    now: float,
    batch_size_for: BatchSizeFor,
    should_begin_again: ShouldBeginAgain,
    elsewhere: Set[BatchKey] = frozenset(),
) -> Open | Enter | Close | TakeBack | None:
    """Return what to do next for one GPU; None if nothing more can be sent now. Ask again after each action.

    `elsewhere` are the keys whose images this GPU leaves in the queue.
    """
    group = groups.last
    if queue.paused or (group is not None and group.taken_back):
        # Open slots stay open while the queue is paused, for images that may go on soon.
        return None
    if group is not None and _is_too_small(group, groups, queue, gpu, batch_size_for, should_begin_again):
        image = queue.next(now, gpu, elsewhere)
        if image is not None and image.key == group.key and not image.isolated:
            return TakeBack(group)
    if not has_room(groups):
        return None
    if group is None or group.closing:
        image = queue.next(now, gpu, elsewhere)
        return None if image is None else Open(image, batch_size_for(image.key, queue.waiting_for(image.key)))
    image = queue.next_for(group.key, now, gpu, elsewhere)
    if image is None or image.isolated:
        # The waiting images need other slots. If none waits for this GPU, the group stays open for images to come.
        return Close(group) if any(key not in elsewhere for key in queue.waiting) else None
    best = batch_size_for(group.key, len(group.images) + queue.waiting_for(group.key))
    if best > group.batch_size:
        # More slots are worth opening, once these are empty.
        return Close(group)
    return Enter(image, group)


def _is_too_small(
    group: SlotGroup,
    groups: SlotGroups,
    queue: Queue,
    gpu: Affinity,
    batch_size_for: BatchSizeFor,
    should_begin_again: ShouldBeginAgain,
) -> bool:
    """Return whether the images of the last group should be taken back, so that a larger one opens with those that wait."""
    waiting = queue.waiting_for(group.key)
    # The model is loaded next because these images were sent, so they stay until it is in memory.
    if not waiting or group.closing or group.key.model not in gpu.loaded:
        return False
    if batch_size_for(group.key, len(group.images) + waiting) <= group.batch_size:
        return False
    return group is groups.following or should_begin_again(group, waiting)
