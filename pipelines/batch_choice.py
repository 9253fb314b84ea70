"""The choice of the batch size that makes the most of the device, from measured costs and not from a constant. Pure.

The server chooses how many slots a slot group opens with (`BatchCosts.batch_size_for`), and whether its images begin again
in a larger one (`BatchCosts.should_begin_again`). The GPU process chooses how many of the images in slots a denoiser call
takes (`call_size_for`). `batch_size_for` and `call_size_for` compare images a second; `should_begin_again` compares the time
until all images are done.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile

import msgspec

#: Prefer another batch size only if it gives at least this many times the images a second; less is noise.
WORTH = 1.03
#: Let images begin again only if all that run and wait are then done in at most this part of the time.
SOONER = 0.85
#: Let an image begin again only if all that it lost by beginning again is then less than this part of the time it takes.
MOST_LOST = 0.2


class CostKey(msgspec.Struct, frozen=True):
    """Everything that the cost of a denoising step depends on, besides the batch size."""

    model: str
    device: str
    width: int
    height: int


class BatchCost(msgspec.Struct, frozen=True):
    """The measured cost of a denoising step of a full batch. Its seconds and bytes are None if memory ran out."""

    key: CostKey
    batch_size: int
    #: The same as in protocol.Measured. A cost of another revision says nothing about the model as it is now.
    cost_revision: str
    seconds_per_step: float | None
    peak_bytes: int | None
    #: The fewest bytes that the images were seen to take beside the weights; None if no image was decoded.
    working_bytes: int | None = None


class Running(msgspec.Struct, frozen=True):
    """A batch that runs."""

    batch_size: int
    images: int
    #: Seconds since it began.
    seconds: float
    #: The most that one of its images lost by earlier beginnings.
    lost_seconds: float = 0.0


class BatchCosts:
    """Every measured cost, by model, device and size of image, and then by batch size."""

    def __init__(self) -> None:
        self._known: dict[CostKey, dict[int, BatchCost]] = {}

    def note(self, cost: BatchCost) -> None:
        """Keep a cost in place of an earlier one of its batch size; drop the model's costs of other revisions.

        The least working memory is kept: other work at the time can only have added to it.
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

        As long as the largest measured batch size is the best one and there are images to fill more, the next larger one is
        returned, so that it is measured too. If all allowed ones were too large for the memory, half of the smallest that was
        too large is returned.
        """
        known = self._known.get(key, {})
        too_large = min((size for size, cost in known.items() if cost.seconds_per_step is None), default=None)
        fitting = [size for size in allowed if too_large is None or size < too_large]
        if not fitting:
            return max(1, (too_large or 2) // 2)
        # These are the sizes that the images fill, and the next one, which may still be the best for them.
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

        They should if they lose little by it and all are done clearly sooner, by measured costs. Without a measured cost they
        should not.
        """
        own = self._seconds_per_step(key, running.batch_size)
        if own is None or running.seconds + running.lost_seconds >= MOST_LOST * steps * own:
            return False
        rest = self._seconds_for(key, allowed, steps, waiting)
        together = self._seconds_for(key, allowed, steps, running.images + waiting)
        if rest is None or together is None:
            return False
        # The images leave their slots only after their present step.
        return own + together <= SOONER * (steps * own - running.seconds + rest)

    def seconds_per_image(self, key: CostKey, steps: int) -> float | None:
        """Return the seconds that an image of `steps` steps adds at the best batch size; None if nothing was measured."""
        costs = self._known.get(key, {}).values()
        each = [cost.seconds_per_step / cost.batch_size for cost in costs if cost.seconds_per_step is not None]
        return min(each) * steps if each else None

    def _seconds_for(self, key: CostKey, allowed: Sequence[int], steps: int, images: int) -> float | None:
        """Return the seconds until `images` images are done at the best batch size; None if that was not measured."""
        batch_size = self.batch_size_for(key, allowed, images)
        each = self._seconds_per_step(key, batch_size)
        return None if each is None else -(-images // batch_size) * steps * each

    def _seconds_per_step(self, key: CostKey, batch_size: int) -> float | None:
        cost = self._known.get(key, {}).get(batch_size)
        return None if cost is None else cost.seconds_per_step

    def image_bytes(self, model: str, device: str, batch_size: int, is_current: Callable[[str], bool]) -> int | None:
        """Return the fewest bytes that this batch size took beside the weights, at any width and height; None if unmeasured.

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
    """Return the batch size of the next denoiser call, which takes that many of the images in slots.

    `exact` are the sizes that give the same bits, at least one of them ≥ `images`; `seconds` are the known seconds of a call,
    by size. The result is usually the smallest size that takes all images, but a smaller one may be faster: three images may
    be done sooner in calls of two and one than in one call of four.
    """
    sizes = sorted(exact)
    takes_all = next(size for size in sizes if size >= images)
    if takes_all not in seconds:
        return takes_all
    smaller = [size for size in sizes if size < takes_all and size in seconds]
    return _best(takes_all, smaller, images, seconds)


def _best(preferred: int, others: Iterable[int], images: int, seconds: Mapping[int, float]) -> int:
    """Return the batch size with the most images a second; `preferred` unless another gives WORTH times as many."""
    best = preferred
    for size in others:
        if min(size, images) / seconds[size] > WORTH * min(best, images) / seconds[best]:
            best = size
    return best
