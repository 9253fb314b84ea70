"""torch's default dtype while a model is read beside the denoiser.

It is the whole process's, and diffusers and transformers set it to a model's own for the moments in which they build one of
its parts. A tensor that a running pipeline makes in such a moment would be of another dtype, and its image of other bits.
So building and computing take turns.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_one_reader = threading.Lock()
_computing = threading.Lock()
#: Held by whoever is next; without it the denoiser, which asks again at once, would always be first.
_next = threading.Lock()


@contextmanager
def computing() -> Iterator[None]:
    """Inside, the default dtype is the usual one. Not to be nested."""
    _acquire()
    try:
        yield
    finally:
        _computing.release()


def pause() -> None:
    """Inside `computing`, between two steps: let a reader have its turn."""
    _computing.release()
    _acquire()


@contextmanager
def building() -> Iterator[None]:
    """Inside, one thread at a time reads a model; the default dtype it sets is seen by no `computing`."""
    with _one_reader:
        usual, set_default_dtype = torch.get_default_dtype(), torch.set_default_dtype
        has_turn = False

        def in_turn(dtype: torch.dtype) -> None:
            nonlocal has_turn
            if dtype != usual and not has_turn:
                _acquire()
                has_turn = True
            set_default_dtype(dtype)
            if dtype == usual and has_turn:
                has_turn = False
                _computing.release()

        torch.set_default_dtype = in_turn
        try:
            yield
        finally:
            # What failed to build may have left its own.
            in_turn(usual)
            torch.set_default_dtype = set_default_dtype


def _acquire() -> None:
    with _next:
        _computing.acquire()
