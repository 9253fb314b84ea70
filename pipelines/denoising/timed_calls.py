"""Runs the denoiser calls of slots, and finds what a step of a full batch costs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from pipelines.denoising.call import CallSettings
from pipelines.denoising.families import Family
from pipelines.denoising.joining import TIMED, DenoiserCall, Findings, JointDenoiser

#: How many denoiser calls an image takes, by pass (True is the second one) and by rows.
CallCounts = Counter[tuple[bool, int]]


class TimedCalls:
    """The calls of a batch of `batch_size` slots. A step is what the slots do from `begin_step` to `end_step`."""

    def __init__(
        self,
        denoiser: torch.nn.Module,
        family: Family,
        batch_size: int,
        findings: Findings,
        settings: CallSettings,
        *,
        partly_guided: bool,
    ) -> None:
        self._settings, self._partly_guided = settings, partly_guided
        self._first = JointDenoiser(denoiser, family, batch_size, findings)
        #: The same denoiser for the calls of second passes, which have another size and so another cost.
        self._second = JointDenoiser(denoiser, family, batch_size, findings)
        #: How many tiles the second pass of an image has.
        self.tiles = 1
        #: The calls of the image that was done last; empty if none is done.
        self.counts: CallCounts = Counter()
        #: Seconds of the first TIMED steps of a full batch. A step has several calls if the prompts cannot be joined.
        self._full_steps: list[float] = []
        #: Seconds of the present step; None if it is not timed.
        self._seconds: float | None = None
        self._is_full = False

    @property
    def seconds_per_step(self) -> float | None:
        """Return the seconds of a step of a full batch; of a padded call if the slots were never all taken.

        If there is a second pass, this is the mean over the steps of both passes; each tile costs a call. If only some steps
        are guided, it is the mean over all.
        """
        if self._partly_guided:
            return self._mean_of_calls()
        first = min(self._full_steps) if len(self._full_steps) == TIMED else _any_of(self._first.seconds_per_call)
        second = self._settings.second
        if second is None:
            return first
        tile = _any_of(self._second.seconds_per_call)
        if first is None or tile is None:
            return None
        total = first * self._settings.steps + tile * self.tiles * second.steps
        return total / self._settings.all_steps

    def begin_step(self, *, is_full: bool) -> None:
        """Begin a step; all slots are taken if `is_full`."""
        self._is_full = is_full
        is_timed = is_full and len(self._full_steps) < TIMED and not self._partly_guided
        self._seconds = 0.0 if is_timed else None

    def run(self, calls: Sequence[DenoiserCall], *, in_second_pass: bool) -> list[Any]:
        """Run the denoiser once for the first of these calls, at least one; return the result of each that took part.

        All calls have the same signature. Raises what the denoiser raises.
        """
        denoiser = self._denoiser_of(in_second_pass)
        if self._seconds is None or in_second_pass:
            # Images that entered one by one may never be guided together, so no call would ever be of the full batch.
            return denoiser.run(calls, time_full=self._partly_guided and self._is_full)
        results: list[Any]
        results, took = denoiser.clocked(partial(denoiser.run, calls))
        # If some were left out, the step takes more such calls.
        self._seconds = None if denoiser.compared else self._seconds + took * len(calls) / len(results)
        return results

    def end_step(self) -> None:
        if self._seconds:
            self._full_steps.append(self._seconds)

    def _mean_of_calls(self) -> float | None:
        total = 0.0
        for (in_second_pass, rows), count in self.counts.items():
            seconds = self._denoiser_of(in_second_pass).seconds_per_call.get(rows)
            if seconds is None:
                return None
            total += seconds * count
        return total / self._settings.all_steps or None

    def _denoiser_of(self, in_second_pass: bool) -> JointDenoiser:
        return self._second if in_second_pass else self._first


def _any_of(seconds: Mapping[int, float]) -> float | None:
    """Return the seconds of the calls that were timed first, if any were: all calls of such a batch take as long."""
    return next(iter(seconds.values()), None)
