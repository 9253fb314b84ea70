"""The joint denoiser call of several slots: padded to the batch size, or to a smaller size that gives the same bits.

At a fixed batch size a denoiser gives a row the same bits whatever the other rows are. A few images need not pay for the
whole batch: they run at a smaller size, if that was seen on this device to give the bits of the full one (see `exact_batch`).
Short calls that are made often are traced (see `traced_calls`).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec
import torch

from pipelines.batch_choice import call_size_for
from pipelines.denoising.exact_batch import Layers, layers_to_pad, padded
from pipelines.denoising.families import Family
from pipelines.denoising.tensor_tree import finite, join, part, same, signature
from pipelines.denoising.traced_calls import TracedCalls

log = logging.getLogger(__name__)

#: How many calls are timed. The least of their times counts, since other programs can only add to a time.
TIMED = 4


class DenoiserCall(msgspec.Struct, frozen=True):
    """One slot's call of the denoiser."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    #: Rows for each image: 2 if the pipeline puts both calls of its guidance into one, otherwise 1.
    rows: int
    #: Calls with equal signatures can be joined.
    signature: Hashable


class CallKind(msgspec.Struct, frozen=True):
    """Calls that run alike: of `size` images and one signature, and with layers padded to give the bits of `full_size`."""

    size: int
    full_size: int
    signature: Hashable


class Findings:
    """Facts about a denoiser and text encoders on this device. They are kept with the loaded model."""

    def __init__(self, traced: TracedCalls | None, *, only_full: bool = False) -> None:
        #: The layers to pad for the bits of the full size; None if this kind cannot give them, or would save too little.
        self.padding: dict[CallKind, Layers | None] = {}
        self._seconds: dict[CallKind, deque[float]] = {}
        #: Whether prompts can share calls of a text encoder, by batch size and kind of call (see `encoding`).
        self.encodes_together: dict[Hashable, bool] = {}
        #: The traces of the denoiser; None if its calls are not traced.
        self.traced = traced
        #: Whether all calls run at the full size. Offloading hooks whole layers, and compiling joins them, so layers cannot
        #: be padded one by one.
        self.only_full = only_full

    def seconds(self, kind: CallKind) -> float | None:
        """Return the least seconds of a call; None until TIMED calls were noted."""
        times = self._seconds.get(kind, ())
        return min(times) if len(times) == TIMED else None

    def note_seconds(self, kind: CallKind, seconds: float) -> None:
        """Keep the time of a call. Only the last TIMED are kept."""
        self._seconds.setdefault(kind, deque(maxlen=TIMED)).append(seconds)


class JointDenoiser:
    """A denoiser that runs the joint calls of a slot group of `batch_size` slots, 1–64."""

    def __init__(self, denoiser: torch.nn.Module, family: Family, batch_size: int, findings: Findings) -> None:
        self.denoiser = denoiser
        self.batch_size = batch_size
        self._family, self._findings = family, findings
        #: Seconds of a call of the full batch by its rows for each image, once TIMED of these calls were timed.
        self.seconds_per_call: dict[int, float] = {}
        #: Whether the last call also ran at a smaller size for comparison, so that its time says nothing.
        self.compared = False
        #: Kinds that were timed since this slot group opened. Each is timed again then: the device's speed may have changed.
        self._timed: set[CallKind] = set()
        self._places_checked = False

    def run(self, calls: Sequence[DenoiserCall], *, time_full: bool = False) -> list[Any]:
        """Run the denoiser once for the first of these calls, at least one; return the result of each call that took part.

        All calls have the same signature. If `time_full`, even one call runs at the full size until that is timed. Raises
        what the denoiser raises.
        """
        self.compared = False
        rows = calls[0].rows
        exact: dict[int, Layers] = {self.batch_size: ()}
        # The server chooses batch sizes by the times of full batches, so those are measured first, unless that costs much.
        costs_much = len(calls) <= self.batch_size // 2
        may_be_smaller = self._seconds(self.batch_size, calls) is not None or (costs_much and not time_full)
        for size in _sizes_below(self.batch_size) if may_be_smaller and not self._findings.only_full else ():
            kind = self._kind(size, calls)
            if kind not in self._findings.padding:
                if len(calls) <= size:
                    result = self._compare(kind, calls)
                    return [part(result, index * rows, rows) for index in range(len(calls))]
                continue
            layers = self._findings.padding[kind]
            if layers is not None:
                exact[size] = layers
                if len(calls) <= size:
                    # Any larger size takes longer, since only a small part of each size is padded.
                    break
        timed = {size: seconds for size in exact if (seconds := self._seconds(size, calls)) is not None}
        size = call_size_for(exact, len(calls), timed)
        taking_part = calls[:size]
        result = self._run_at(self._kind(size, calls), taking_part, exact[size])
        return [part(result, index * rows, rows) for index in range(len(taking_part))]

    def clocked(self, call: Callable[[], Any]) -> tuple[Any, float]:
        """Return what a call returns, and the seconds that the device took."""
        # The denoiser's weights do not say which device is used: they may be offloaded.
        on_cuda = torch.cuda.is_initialized()
        if on_cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        result = call()
        if on_cuda:
            torch.cuda.synchronize()
        return result, time.perf_counter() - started

    def _run_at(self, kind: CallKind, calls: Sequence[DenoiserCall], layers: Layers) -> Any:
        """Run the denoiser at a size with these layers padded, from a trace if that pays."""
        rows = calls[0].rows

        def call(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
            with padded(layers, kind.size * rows, self.batch_size * rows):
                return self.denoiser(*arguments, **keywords)

        given = self._joined(kind.size, calls)
        seconds = self._findings.seconds(kind)
        if seconds is None or kind not in self._timed:
            self._timed.add(kind)
            result, took = self.clocked(lambda: call(*given))
            self._findings.note_seconds(kind, took)
            least = self._findings.seconds(kind)
            if kind.size == self.batch_size and least is not None:
                self.seconds_per_call.setdefault(rows, least)
            return result
        traced = self._findings.traced
        if traced is None or not self._family.traceable or not traced.pays(seconds):
            return call(*given)
        return traced.call((kind, signature(given)), self.denoiser, call, *given)

    def _compare(self, kind: CallKind, calls: Sequence[DenoiserCall]) -> Any:
        """Run the full size and return its result; also run a smaller one, and note whether that gives the same bits."""
        self.compared = True
        rows = calls[0].rows
        few, full = kind.size * rows, self.batch_size * rows
        result, layers = layers_to_pad(self.denoiser, lambda: self._run_plain(self.batch_size, calls), full, few)
        self._check_places(result, rows)
        if layers is None:
            self._findings.padding[kind] = None
            return result
        try:
            with padded(layers, few, full):
                smaller = self._run_plain(kind.size, calls)
        except Exception:
            # The result of the full size is good, so no image suffers.
            log.exception("%s cannot run %d of %d images", type(self.denoiser).__name__, kind.size, self.batch_size)
            self._findings.padding[kind] = None
            return result
        if finite(smaller):
            # A broken image's NaN would say nothing about the kernels.
            self._findings.padding[kind] = layers if same(part(result, 0, few), smaller) else None
        return result

    def _run_plain(self, size: int, calls: Sequence[DenoiserCall]) -> Any:
        arguments, keywords = self._joined(size, calls)
        return self.denoiser(*arguments, **keywords)

    def _check_places(self, result: Any, rows: int) -> None:
        """Warn if the device gives the first image other bits at the last place of the batch, to which padding copies it."""
        if self._places_checked:
            return
        self._places_checked = True
        if not same(part(result, 0, rows), part(result, (self.batch_size - 1) * rows, rows)):
            log.warning(
                "%s: this device gives other bits at another place of a batch of %d; for exact seeds choose other"
                " batch_shapes in models.toml",
                type(self.denoiser).__name__,
                self.batch_size,
            )

    def _joined(self, size: int, calls: Sequence[DenoiserCall]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of one call that joins these calls, padded to `size` with repetitions of the first."""
        first = calls[0]
        padded_calls = [*calls, *(first for _ in range(size - len(calls)))]
        arguments = tuple(
            join([call.arguments[index] for call in padded_calls], first.rows) for index in range(len(first.arguments))
        )
        keywords = {
            name: value
            if name in self._family.shared
            else join([call.keywords[name] for call in padded_calls], first.rows)
            for name, value in first.keywords.items()
        }
        return arguments, keywords

    def _seconds(self, size: int, calls: Sequence[DenoiserCall]) -> float | None:
        return self._findings.seconds(self._kind(size, calls))

    def _kind(self, size: int, calls: Sequence[DenoiserCall]) -> CallKind:
        return CallKind(size, self.batch_size, calls[0].signature)


def _sizes_below(batch_size: int) -> list[int]:
    """Return the sizes worth trying for fewer images, ascending: 1, 2, 3, 4, 6, 8, 12, …"""
    return sorted(size for power in range(6) for size in (2**power, 3 * 2**power) if size < batch_size)
