"""Traced calls: the operations of a denoiser call are recorded once, and then run by torch's interpreter without Python.

In a call of a small model on a CPU Python takes a noticeable part of the time, and decides the same at each step. In all
calls of one signature the denoisers that slots can run do the same operations (see `families`). A trace keeps these
operations and their order, and so the bits.

`torch.jit.trace` keeps memory of each trace as long as the process lives, so only the graph that it makes is used.
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

# torch warns of each shape that becomes a constant in a trace, which is meant here.
warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)

#: A function that takes the arguments and keywords of a denoiser call, and returns its result.
Call = Callable[[tuple[Any, ...], dict[str, Any]], Any]


class TracedCall:
    """The operations of a denoiser call. Call it with arguments of the same signature.

    It follows numbers that are written into the denoiser's weights, but not new tensors in their place.
    """

    def __init__(
        self, denoiser: torch.nn.Module, call: Call, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        # These are imported here because they are private to torch: without them everything but tracing still works.
        from torch.jit._trace import _get_trace_graph, _unique_state_dict

        flat = _Flat(denoiser, call, arguments, keywords)
        graph, _ = _get_trace_graph(flat, tuple(tensors((arguments, keywords))))
        self._form = with_tensors(flat.result, repeat(torch.empty(0)))
        self._weights = tuple(_unique_state_dict(flat, keep_vars=True).values())
        self._function = torch._C._create_function_from_graph("denoiser", graph)
        #: How often the trace gave the bits of the denoiser itself.
        self.trials = 0

    def __call__(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        # The optimizer may join operations, which changes bits.
        with torch.jit.optimized_execution(False):
            results = self._function(*tensors((arguments, keywords)), *self._weights)
        return with_tensors(self._form, iter((results,) if isinstance(results, torch.Tensor) else results))


class TracedCalls:
    """The traces of one denoiser, by kind of call.

    A kind is traced after `plain_calls` calls: by then Python has taken about as long as tracing takes. In `trials` further
    calls the trace runs beside the denoiser and must give the same bits before it stands in for it. At most `most` traces
    are kept, since each takes memory. Calls of more than `longest_s` seconds are not traced: Python takes next to nothing
    of them.
    """

    def __init__(self, plain_calls: int = 64, trials: int = 4, most: int = 16, longest_s: float = 0.5) -> None:
        self._plain_calls, self._trials, self._most, self._longest_s = plain_calls, trials, most, longest_s
        self._calls: Counter[Hashable] = Counter()
        #: The least recently used one comes first.
        self._kept: dict[Hashable, TracedCall] = {}
        self._given_up = False

    def __len__(self) -> int:
        """Return the number of traces kept."""
        return len(self._kept)

    def pays(self, seconds: float) -> bool:
        """Return whether a call that takes this long is worth tracing."""
        return seconds <= self._longest_s

    def call(
        self,
        kind: Hashable,
        denoiser: torch.nn.Module,
        call: Call,
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> Any:
        """Return what `call` returns for the denoiser, from a trace if there were many calls of its kind.

        `kind` stands for the signature of the arguments and everything else that `call` does with the denoiser. Raises what
        `call` raises, never what a trace raises.
        """
        if self._given_up:
            return call(arguments, keywords)
        trace = self._kept.get(kind)
        if trace is not None and trace.trials >= self._trials:
            self._kept[kind] = self._kept.pop(kind)
            try:
                return trace(arguments, keywords)
            except Exception:
                log.exception("A traced call of %s failed; from now on none is traced", type(denoiser).__name__)
                self._give_up()
                return call(arguments, keywords)
        result = call(arguments, keywords)
        self._calls[kind] += 1
        if self._calls[kind] <= self._plain_calls:
            return result
        try:
            if trace is None:
                trace = self._keep(kind, TracedCall(denoiser, call, arguments, keywords))
            if not same(result, trace(arguments, keywords)):
                raise ValueError("the trace gave other bits than the call")
            trace.trials += 1
        except Exception:
            # The call's own result is good, so no image suffers.
            log.exception("A call of %s cannot be traced; from now on none is", type(denoiser).__name__)
            self._give_up()
        return result

    def _keep(self, kind: Hashable, trace: TracedCall) -> TracedCall:
        if len(self._kept) >= self._most:
            oldest = next(iter(self._kept))
            del self._kept[oldest], self._calls[oldest]
        self._kept[kind] = trace
        return trace

    def _give_up(self) -> None:
        self._given_up = True
        self._kept.clear()


class _Flat(torch.nn.Module):  # type: ignore[misc]
    """A denoiser that takes and returns only tensors. Everything else is as in the given call."""

    def __init__(
        self, denoiser: torch.nn.Module, call: Call, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self._call, self._given = call, (arguments, keywords)
        #: The last result of the denoiser, with its nesting.
        self.result: Any = None

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.result = self._call(*with_tensors(self._given, iter(given)))
        return tuple(tensors(self.result))
