"""How many slots to open: from what was measured on this box, not from a constant. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

#: A larger shape must make at least so much more of the GPU to be preferred; less is noise.
WORTH = 1.03


class SizeKey(msgspec.Struct, frozen=True):
    """What the cost of a denoiser call depends on, beside its shape."""

    model: str
    device: str
    width: int
    height: int


class Measurement(msgspec.Struct, frozen=True):
    """A step of all slots at one shape. Seconds and bytes are null where it did not fit into memory."""

    key: SizeKey
    shape: int
    #: Of the weights, with what else of the model's card the cost depends on.
    revision: str
    seconds_per_step: float | None
    peak_bytes: int | None


class Sizes:
    """What is known of each model, device and size."""

    def __init__(self, known: Iterable[Measurement] = ()) -> None:
        self._known: dict[SizeKey, dict[int, Measurement]] = {}
        for measurement in known:
            self.note(measurement)

    def note(self, measurement: Measurement) -> None:
        """A later measurement replaces an earlier one; one of another revision replaces all of its model."""
        for key, known in self._known.items():
            if key.model == measurement.key.model:
                for shape in [shape for shape, old in known.items() if old.revision != measurement.revision]:
                    del known[shape]
        self._known.setdefault(measurement.key, {})[measurement.shape] = measurement

    def shape_for(self, key: SizeKey, shapes: Sequence[int], wanted: int) -> int:
        """The shape that makes most of the GPU for `wanted` images; `shapes` ascends and is what the card allows.

        A shape not measured yet is tried, the next larger one at a time, for as long as the larger ones were better and
        there are images to fill it. Where all shapes are too large for the memory, the largest whole number that may fit.
        """
        known = self._known.get(key, {})
        too_large = min((shape for shape, found in known.items() if found.seconds_per_step is None), default=None)
        fitting = [shape for shape in shapes if too_large is None or shape < too_large]
        if not fitting:
            return max(1, (too_large or 2) // 2)
        # The shapes that the images fill, and the next one, which may still be the best for them.
        useful = fitting[: sum(shape < wanted for shape in fitting) + 1]
        best, best_rate = useful[0], 0.0
        for index, shape in enumerate(useful):
            found = known.get(shape)
            if found is None or found.seconds_per_step is None:
                # Every smaller one is known; where the last of them was the best so far, this one is tried.
                return shape if index == 0 or best == useful[index - 1] else best
            rate = min(shape, wanted) / found.seconds_per_step
            if rate > best_rate * WORTH:
                best, best_rate = shape, rate
        return best
