"""A denoiser at a smaller batch shape that gives the bits of a larger one.

What a layer gives for a row may depend on how many rows there are: a library takes another way through a matrix product
of 2 rows than of 8. Few layers do: on a CPU those with one row an image, which embed the timestep and the pooled text,
and hardly cost anything. So each layer is tried at both shapes, and those that differ are run at the larger shape, padded,
while all others save their time. That the whole denoiser then gives the same bits is for the caller to see; products
outside of layers, such as those of attention, are not tried here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

Layers = tuple[torch.nn.Module, ...]


def varying_layers(denoiser: torch.nn.Module, call: Callable[[], Any], rows: int, fewer: int) -> tuple[Any, Layers]:
    """Make a denoiser call of `rows` rows; its result, and the layers whose first `fewer` rows have other bits alone.

    Each layer is tried on its true input as the call passes it, so that no activations are kept.
    """
    varying: dict[torch.nn.Module, None] = {}

    def try_fewer(layer: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        if layer in varying or not isinstance(result, torch.Tensor) or len(result) % rows:
            return
        first = len(result) // rows * fewer
        few = layer.forward(
            *(_first(value, rows, fewer) for value in inputs),
            **{name: _first(value, rows, fewer) for name, value in named.items()},
        )
        if not torch.equal(few, result[:first]):
            varying[layer] = None

    # Layers with weights of their own; those without work on each number by itself, some in place.
    layers = [part for part in denoiser.modules() if next(part.parameters(recurse=False), None) is not None]
    hooks = [layer.register_forward_hook(try_fewer, with_kwargs=True) for layer in layers if not any(layer.children())]
    try:
        return call(), tuple(varying)
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def padded(layers: Sequence[torch.nn.Module], rows: int, wanted: int) -> Iterator[None]:
    """Inside, these layers of a denoiser called with `rows` rows run with `wanted` rows; nobody else notices."""

    def pad(_: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return (
            tuple(_repeated(value, rows, wanted) for value in inputs),
            {name: _repeated(value, rows, wanted) for name, value in named.items()},
        )

    def cut(_: torch.nn.Module, __: tuple[Any, ...], result: torch.Tensor) -> torch.Tensor:
        return result[: len(result) // wanted * rows]

    hooks = [layer.register_forward_pre_hook(pad, with_kwargs=True) for layer in layers]
    hooks += [layer.register_forward_hook(cut) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _first(value: Any, rows: int, fewer: int) -> Any:
    """The part of a layer's argument that belongs to the first `fewer` rows."""
    if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) % rows:
        return value
    return value[: len(value) // rows * fewer]


def _repeated(value: Any, rows: int, wanted: int) -> Any:
    """A layer's argument with its first entry repeated, so that it is as long as that of `wanted` rows."""
    if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) % rows:
        return value
    missing = len(value) // rows * (wanted - rows)
    return torch.cat([value, value[:1].expand(missing, *value.shape[1:])])
