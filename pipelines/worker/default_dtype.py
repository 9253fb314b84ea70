"""torch's default dtype, while a model is built in a thread beside the denoiser.

The whole process has one default dtype, and diffusers and transformers set it to a model's own for the moments in which they
build one of its components. A tensor that a running pipeline makes in such a moment would have another dtype, and its image
other bits. So those moments and the steps of the denoiser take turns.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_one_builder = threading.Lock()
_turn = threading.Lock()
#: A lock that the next thread holds. Without it the denoiser, which asks again at once, would always be first.
_next = threading.Lock()


@contextmanager
def computing() -> Iterator[None]:
    """Keep the default dtype at the usual one inside the block. Blocks may not be nested."""
    _take_turn()
    try:
        yield
    finally:
        _turn.release()


@contextmanager
def building() -> Iterator[None]:
    """Hide the default dtypes that this thread sets inside the block from `computing` blocks. Other builders wait."""
    with _one_builder:
        usual, set_default_dtype = torch.get_default_dtype(), torch.set_default_dtype
        has_turn = False

        def set_in_turn(dtype: torch.dtype) -> None:
            nonlocal has_turn
            if dtype != usual and not has_turn:
                _take_turn()
                has_turn = True
            set_default_dtype(dtype)
            if dtype == usual and has_turn:
                has_turn = False
                _turn.release()

        torch.set_default_dtype = set_in_turn
        try:
            yield
        finally:
            # A component that failed to build may have left its own dtype.
            set_in_turn(usual)
            torch.set_default_dtype = set_default_dtype


def _take_turn() -> None:
    with _next:
        _turn.acquire()
