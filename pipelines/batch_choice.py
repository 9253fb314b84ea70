"""Which batch size makes the most of the device: chosen from measured costs, not from a constant. Pure.

The server chooses how many slots a slot group opens with (`BatchCosts.batch_size_for`), and whether its images begin again in
a larger one (`BatchCosts.should_begin_again`); the GPU process chooses how many of the images in slots a denoiser call takes
(`call_size_for`). The first and the last compare images a second, the second one the time until all images are there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile

import msgspec

#: Prefer another batch size only if it gives at least this many times the images a second; less is noise.
WORTH = 1.03
#: Let images begin again only if all that run and wait are there after at most this part of the time.
SOONER = 0.85
#: An image may begin again until it has lost this part of its own time by it, however often it does.
MOST_LOST = 0.2


class CostKey(msgspec.Struct, frozen=True):
    """What the cost of a denoising step depends on, besides the batch size."""

    model: str
    device: str
    width: int
    height: int


class BatchCost(msgspec.Struct, frozen=True):
    """The measured cost of a denoising step of a full batch. Seconds and bytes are None if it did not fit into memory."""

    key: CostKey
    batch_size: int
    #: See protocol.Measured: a cost of another revision says nothing about this one.
    cost_revision: str
    seconds_per_step: float | None
    peak_bytes: int | None
    #: What the images took beside the weights, the least that was seen; None if no image was decoded.
    working_bytes: int | None = None


class Running(msgspec.Struct, frozen=True):
    """A batch that runs."""

    batch_size: int
    images: int
    #: Since it began.
    seconds: float
    #: What one of its images has lost before because it began again, at most.
    lost_seconds: float = 0.0


class BatchCosts:
    """Every measured cost: by model, device and size, and then by batch size."""

    def __init__(self) -> None:
        self._known: dict[CostKey, dict[int, BatchCost]] = {}

    def note(self, cost: BatchCost) -> None:
        """Keep a cost in place of an earlier one of its batch size; one of another revision replaces all of its model.

        The least working memory stays: whatever else went on at a time can only have added to it.
        """
        for key, known in self._known.items():
            if key.model == cost.key.model:
                for batch_size in [size for size, old in known.items() if old.cost_revision != cost.cost_revision]:
                    del known[batch_size]
        known = self._known.setdefault(cost.key, {})
        earlier = known.get(cost.batch_size)
        if earlier is not None:
            seen = [size for size in (earlier.working_bytes, cost.working_bytes) if size is not None]
            cost = msgspec.structs.replace(cost, working_bytes=min(seen, default=None))
        known[cost.batch_size] = cost

    def batch_size_for(self, key: CostKey, allowed: Sequence[int], images: int) -> int:
        """Return the best batch size for this many images among the `allowed` ones, which ascend.

        A batch size that was not measured yet is tried, the next larger one at a time, for as long as the larger ones were
        better and there are images to fill it. If all allowed ones are too large for the memory, this is the largest whole
        number that may fit.
        """
        known = self._known.get(key, {})
        too_large = min((size for size, cost in known.items() if cost.seconds_per_step is None), default=None)
        fitting = [size for size in allowed if too_large is None or size < too_large]
        if not fitting:
            return max(1, (too_large or 2) // 2)
        # The sizes that the images fill, and the next one, which may still be the best for them.
        useful = fitting[: sum(size < images for size in fitting) + 1]
        seconds = {size: cost.seconds_per_step for size, cost in known.items() if cost.seconds_per_step is not None}
        measured = list(takewhile(seconds.__contains__, useful))
        if not measured:
            return useful[0]
        best = _best(measured[0], measured, images, seconds)
        untried = useful[len(measured) :]
        return untried[0] if untried and best == measured[-1] else best

    def should_begin_again(
        self, key: CostKey, allowed: Sequence[int], steps: int, running: Running, waiting: int
    ) -> bool:
        """Return whether the images that run should begin again, together with those that wait.

        They should if they lose little by it, and all are there clearly sooner, by measured costs. What is not measured is no
        reason.
        """
        own = self._seconds_per_step(key, running.batch_size)
        if own is None or running.seconds + running.lost_seconds >= MOST_LOST * steps * own:
            return False
        rest = self._seconds_for(key, allowed, steps, waiting)
        together = self._seconds_for(key, allowed, steps, running.images + waiting)
        if rest is None or together is None:
            return False
        # Images are given up when their present step is done.
        return own + together <= SOONER * (steps * own - running.seconds + rest)

    def seconds_per_image(self, key: CostKey, steps: int) -> float | None:
        """Return the seconds that an image of so many steps adds at the best batch size; None if nothing was measured."""
        costs = self._known.get(key, {}).values()
        each = [cost.seconds_per_step / cost.batch_size for cost in costs if cost.seconds_per_step is not None]
        return min(each) * steps if each else None

    def _seconds_for(self, key: CostKey, allowed: Sequence[int], steps: int, images: int) -> float | None:
        """Return the seconds until so many images are there, in slots of the best number; None if that was not measured."""
        batch_size = self.batch_size_for(key, allowed, images)
        each = self._seconds_per_step(key, batch_size)
        return None if each is None else -(-images // batch_size) * steps * each

    def _seconds_per_step(self, key: CostKey, batch_size: int) -> float | None:
        cost = self._known.get(key, {}).get(batch_size)
        return None if cost is None else cost.seconds_per_step

    def image_bytes(self, model: str, device: str, batch_size: int, is_current: Callable[[str], bool]) -> int | None:
        """Return the least that a batch of this size takes beside the weights, at any size; None if it was not measured.

        `is_current` says whether a cost revision is that of the model as it is now.
        """
        found = [
            cost.working_bytes
            for key, known in self._known.items()
            if (key.model, key.device) == (model, device)
            and (cost := known.get(batch_size)) is not None
            and cost.working_bytes is not None
            and is_current(cost.cost_revision)
        ]
        return min(found, default=None)


def call_size_for(exact: Iterable[int], images: int, seconds: Mapping[int, float]) -> int:
    """Return how many rows' worth of images the next denoiser call should take of those that wait in slots.

    `exact` are the sizes that give the same bits, at least one of them ≥ `images`; `seconds` are those of a call, by size,
    as far as they are known. Usually this is the smallest size that takes all images. Three images, for example, may be
    done sooner as two and then one than as three of four.
    """
    sizes = sorted(exact)
    takes_all = next(size for size in sizes if size >= images)
    if takes_all not in seconds:
        return takes_all
    smaller = [size for size in sizes if size < takes_all and size in seconds]
    return _best(takes_all, smaller, images, seconds)


def _best(preferred: int, others: Iterable[int], images: int, seconds: Mapping[int, float]) -> int:
    """Return the batch size that does the most images a second; `preferred` unless another one is worth it."""
    best = preferred
    for size in others:
        if min(size, images) / seconds[size] > WORTH * min(best, images) / seconds[best]:
            best = size
    return best
