"""A denoiser call without Python: its operations are recorded once and then run by torch's own interpreter.

Of a call of a small model on a CPU a tenth to a fifth of the time is Python, which finds out again at each step what the
step before found out. At one batch shape a denoiser does the same operations each time, unless what it does depends on
numbers in its tensors, and that is seen. The operations and their order stay, so the bits do.

`torch.jit.trace` would do, but keeps some 35 MB of each recording as long as the process lives, so the graph it makes is
asked for by itself.
"""

import logging
import warnings
from itertools import repeat
from typing import Any

import torch
from torch.jit._trace import _get_trace_graph, _unique_state_dict
from torch.utils._python_dispatch import TorchDispatchMode

from pipelines.nested import same, tensors, with_tensors

log = logging.getLogger(__name__)

_aten = torch.ops.aten
#: Operations that let Python see the numbers in a tensor; `tolist` shows as the `resolve_` ones.
_LOOKS = frozenset(
    {
        _aten.item.default,
        _aten.is_nonzero.default,
        _aten._local_scalar_dense.default,
        _aten.equal.default,
        _aten.resolve_conj.default,
        _aten.resolve_neg.default,
    }
)


class Recording:
    """The operations of a denoiser call; to be called with arguments like those it was made with, tensors aside."""

    def __init__(self, denoiser: torch.nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        flat = _Flat(denoiser, arguments, keywords)
        with warnings.catch_warnings():
            # It warns of each shape that becomes a constant, which is what is wanted.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            graph, _ = _get_trace_graph(flat, tuple(tensors((arguments, keywords))))
        self._form = with_tensors(flat.result, repeat(torch.empty(0)))
        self._weights = tuple(_unique_state_dict(flat, keep_vars=True).values())
        self._function = torch._C._create_function_from_graph("denoiser", graph)

    def __call__(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        # No optimizer: it may join operations, which changes bits.
        with torch.jit.optimized_execution(False):
            results = self._function(*tensors((arguments, keywords)), *self._weights)
        return with_tensors(self._form, iter((results,) if isinstance(results, torch.Tensor) else results))


def record(
    denoiser: torch.nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[Any, Recording | None]:
    """Make a denoiser call; its result and its recording.

    No recording where the call looks at numbers in tensors, where torch cannot record it, or where other bits came of it.
    Takes about as long as three calls and half a second. Raises what the call raises.
    """
    looks = _Looks()
    with looks:
        result = denoiser(*arguments, **keywords)
    if looks.seen is not None:
        log.info("%s is not recorded: it looks at numbers in tensors (%s)", type(denoiser).__name__, looks.seen)
        return result, None
    try:
        recording = Recording(denoiser, arguments, keywords)
        if same(result, recording(arguments, keywords)):
            return result, recording
    except Exception:
        # The call itself went well, so nobody suffers.
        log.exception("%s cannot be recorded", type(denoiser).__name__)
        return result, None
    log.warning("%s is not recorded: other bits come of its recording", type(denoiser).__name__)
    return result, None


class _Looks(TorchDispatchMode):  # type: ignore[misc]
    """Inside, notes whether Python sees numbers in tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: str | None = None

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        if operation in _LOOKS:
            self.seen = str(operation)
        return operation(*arguments, **(keywords or {}))


class _Flat(torch.nn.Module):  # type: ignore[misc]
    """A denoiser that takes and gives tensors alone, all else being as it was first called with."""

    def __init__(self, denoiser: torch.nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        super().__init__()
        self.denoiser = denoiser
        self._call = (arguments, keywords)
        #: What the denoiser gave last, as it gave it.
        self.result: Any = None

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        arguments, keywords = with_tensors(self._call, iter(given))
        self.result = self.denoiser(*arguments, **keywords)
        return tuple(tensors(self.result))
