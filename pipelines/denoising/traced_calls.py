"""A denoiser call without Python: its operations are recorded once and then run by torch's own interpreter.

Of a call of a small model on a CPU a tenth to a fifth of the time is Python, which finds out again at each step what the
step before found out. At one batch shape the denoisers that slots know do the same operations each time: none branches on a
number in a tensor, draws random numbers or changes what it is given. The operations stay, in their order, so the bits do.

`torch.jit.trace` would do, but keeps some 35 MB of each recording as long as the process lives, so the graph it makes is
asked for by itself.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Hashable
from itertools import repeat
from typing import Any

import torch

from pipelines.denoising.tensor_tree import same, tensors, with_tensors

log = logging.getLogger(__name__)

#: Calls of a kind before it is recorded: by then Python has taken about as long as to record it takes.
RECORDED_FROM = 64
#: Calls in which a recording runs beside the denoiser itself, and must give the same bits, before it stands in for it.
TRIALS = 4
#: Recordings of a model that are kept, some 20 MB each.
MOST = 16

# Each shape that becomes a constant is worth a warning to torch; here it is what is wanted.
warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)

#: A denoiser call: its arguments and keywords to its result.
Call = Callable[[tuple[Any, ...], dict[str, Any]], Any]


class Recording:
    """The operations of a denoiser call; to be called with arguments of the same signature.

    Follows what is written into the denoiser's weights, but not their replacement.
    """

    def __init__(
        self, denoiser: torch.nn.Module, call: Call, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        # Not above: they are torch's own affair, and without them everything but this still works.
        from torch.jit._trace import _get_trace_graph, _unique_state_dict

        flat = _Flat(denoiser, call, arguments, keywords)
        graph, _ = _get_trace_graph(flat, tuple(tensors((arguments, keywords))))
        self._form = with_tensors(flat.result, repeat(torch.empty(0)))
        self._weights = tuple(_unique_state_dict(flat, keep_vars=True).values())
        self._function = torch._C._create_function_from_graph("denoiser", graph)
        #: How often it gave the bits of the denoiser itself.
        self.trials = 0

    def __call__(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        # No optimizer: it may join operations, which changes bits.
        with torch.jit.optimized_execution(False):
            results = self._function(*tensors((arguments, keywords)), *self._weights)
        return with_tensors(self._form, iter((results,) if isinstance(results, torch.Tensor) else results))


class Recordings:
    """The recorded calls of one denoiser."""

    def __init__(self) -> None:
        self._calls: Counter[Hashable] = Counter()
        #: Least recently used first.
        self._kept: dict[Hashable, Recording] = {}
        self._given_up = False

    def __len__(self) -> int:
        return len(self._kept)

    def call(
        self,
        kind: Hashable,
        denoiser: torch.nn.Module,
        call: Call,
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> Any:
        """Make a denoiser call; from a recording where there were many of its kind, which stands for its signature and
        all else that `call` does with the denoiser. Raises what the call raises, never what a recording does."""
        if self._given_up:
            return call(arguments, keywords)
        recording = self._kept.get(kind)
        if recording is not None and recording.trials >= TRIALS:
            self._kept[kind] = self._kept.pop(kind)
            try:
                return recording(arguments, keywords)
            except Exception:
                log.exception("A recorded call of %s failed; none is recorded any more", type(denoiser).__name__)
                self._give_up()
                return call(arguments, keywords)
        result = call(arguments, keywords)
        self._calls[kind] += 1
        if self._calls[kind] <= RECORDED_FROM:
            return result
        try:
            if recording is None:
                recording = self._keep(kind, Recording(denoiser, call, arguments, keywords))
            if not same(result, recording(arguments, keywords)):
                raise ValueError("other bits came of the recording")
            recording.trials += 1
        except Exception:
            # The result is good, so nobody suffers.
            log.exception("A call of %s cannot be recorded; none is recorded any more", type(denoiser).__name__)
            self._give_up()
        return result

    def _keep(self, kind: Hashable, recording: Recording) -> Recording:
        if len(self._kept) >= MOST:
            oldest = next(iter(self._kept))
            del self._kept[oldest], self._calls[oldest]
        self._kept[kind] = recording
        return recording

    def _give_up(self) -> None:
        self._given_up = True
        self._kept.clear()


class _Flat(torch.nn.Module):  # type: ignore[misc]
    """A denoiser that takes and gives tensors alone, all else being as it was first called with."""

    def __init__(
        self, denoiser: torch.nn.Module, call: Call, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self._call, self._given = call, (arguments, keywords)
        #: What the denoiser gave, as it gave it.
        self.result: Any = None

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.result = self._call(*with_tensors(self._given, iter(given)))
        return tuple(tensors(self.result))
