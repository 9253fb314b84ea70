"""Turns between a thread that builds a model and the denoiser, since such a thread changes torch for the whole process.

- diffusers and transformers set torch's default dtype to a model's own for the moments in which they build one of its
  components. A tensor that a running pipeline makes in such a moment would have another dtype, and its image other bits.
- diffusers has accelerate replace a method of torch.nn.Module, so that a component's layers take no memory before its weights
  are read. A LoRA's layers that are made in such a moment would have no memory either.

So those moments take turns with the steps of the denoiser and the reading of LoRAs.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import big_modeling

_one_builder = threading.Lock()
_turn = threading.Lock()
#: A lock that the next thread holds. Without it the denoiser, which asks again at once, would always be first.
_next = threading.Lock()


@contextmanager
def computing() -> Iterator[None]:
    """Keep torch as it usually is inside the block. Blocks may not be nested."""
    _take_turn()
    try:
        yield
    finally:
        _turn.release()


@contextmanager
def building() -> Iterator[None]:
    """Hide from `computing` blocks what this thread changes in torch inside the block. Other builders wait."""
    with _one_builder:
        usual, set_default_dtype = torch.get_default_dtype(), torch.set_default_dtype
        init_on_device = big_modeling.init_on_device
        #: The things that this thread has changed now. It has the turn as long as there are any.
        changed: set[str] = set()

        def change(what: str) -> None:
            if not changed:
                _take_turn()
            changed.add(what)

        def undo(what: str) -> None:
            if what in changed:
                changed.remove(what)
                if not changed:
                    _turn.release()

        def set_in_turn(dtype: torch.dtype) -> None:
            if dtype != usual:
                change("dtype")
            set_default_dtype(dtype)
            if dtype == usual:
                undo("dtype")

        @contextmanager
        def init_in_turn(*arguments: Any, **keywords: Any) -> Iterator[None]:
            change("layers")
            try:
                with init_on_device(*arguments, **keywords) as entered:
                    yield entered
            finally:
                undo("layers")

        torch.set_default_dtype = set_in_turn
        big_modeling.init_on_device = init_in_turn
        try:
            yield
        finally:
            big_modeling.init_on_device = init_on_device
            # A component that failed to build may have left its own dtype.
            set_in_turn(usual)
            torch.set_default_dtype = set_default_dtype


def _take_turn() -> None:
    with _next:
        _turn.acquire()
