"""Captured functions: steps of the training that the GPU replays."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import torch
from torch import Tensor

#: Calls with a set of shapes before it is captured. In them libraries choose their kernels, and optimizers make their state.
WARM = 2


class Captured:
    """A function of tensors on one device that is called over and over, and returns nothing.

    On CUDA its kernels are recorded once for each set of shapes and replayed, as a CUDA graph: these networks are so small
    that launching their kernels one by one takes longer than running them. The function may change lasting tensors in place,
    and must not wait for the GPU. On a CPU it is simply called.
    """

    def __init__(self, function: Callable[..., None], target: torch.device) -> None:
        self._function = function
        self._stream = torch.cuda.Stream() if target.type == "cuda" else None
        self._calls: Counter[tuple[torch.Size, ...]] = Counter()
        self._captures: dict[tuple[torch.Size, ...], _Capture] = {}
        # Nobody reads a capture's tensors after its replay, so all captures may use the same memory.
        self._memory = torch.cuda.graph_pool_handle() if target.type == "cuda" else None

    def __call__(self, *given: Tensor) -> None:
        if self._stream is None:
            self._function(*given)
            return
        shapes = tuple(tensor.shape for tensor in given)
        self._calls[shapes] += 1
        if self._calls[shapes] <= WARM:
            # A capture runs in another stream than the default one, and so must the calls that prepare it.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self._function(*given)
            torch.cuda.current_stream().wait_stream(self._stream)
            return
        if shapes not in self._captures:
            self._captures[shapes] = _captured(self._function, given, self._memory)
        capture = self._captures[shapes]
        for kept, tensor in zip(capture.given, given, strict=True):
            kept.copy_(tensor)
        capture.graph.replay()


class _Capture(msgspec.Struct, frozen=True):
    graph: torch.cuda.CUDAGraph
    #: The tensors that the graph reads. The values of each call are copied into them.
    given: tuple[Tensor, ...]


def _captured(function: Callable[..., None], given: tuple[Tensor, ...], memory: Any) -> _Capture:
    kept = tuple(tensor.clone() for tensor in given)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=memory):
        function(*kept)
    return _Capture(graph, kept)
