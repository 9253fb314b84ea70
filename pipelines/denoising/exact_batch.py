"""Batch invariance: how to run a denoiser on a few rows so that it gives the bits of a larger batch.

A layer's output for a row may depend on how many rows there are, because a library computes a matrix product of 2 rows in
another way than one of 8. This is true of few layers: on a CPU, of some with one vector per row, which embed the timestep
and the pooled text and cost hardly anything. So each layer is tried at both batch sizes. Layers that differ are padded to the
larger one, and all others save their time. Operations outside of layers, such as the products of attention, are not tried
here: the caller must check whether the whole denoiser gives the same bits.

A function of single numbers may depend on the batch size too. A CPU computes whole vectors of them, and the numbers that are
left over in another way, which changes the last bits now and then, but too rarely for a trial to show it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

log = logging.getLogger(__name__)

Layers = tuple[torch.nn.Module, ...]

#: A function of a multiple of this many numbers leaves none over: two of the widest registers, of 64 bytes, hold no more.
_WHOLE_VECTORS = 128

#: The part of the output of all layers that padded layers may make up; above it a smaller batch saves too little.
_MOST_PADDED = 0.05


def layers_to_pad(denoiser: torch.nn.Module, call: Callable[[], Any], full: int, few: int) -> tuple[Any, Layers | None]:
    """Make a denoiser call of `full` rows; return its result, and the layers to pad in calls of `few` rows.

    These are all layers with one vector per row, whose few numbers could agree by chance; all functions that leave numbers
    over; and the layers that give other bits if they run on the first `few` rows alone. They are None if padding would save
    too little, or if a layer could not be tried. Each layer is tried on its real input during the call, so no activations are
    kept. Raises what the call raises.
    """
    output: dict[torch.nn.Module, int] = {}
    padded_layers: dict[torch.nn.Module, None] = {}
    failed = False

    def try_few(layer: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        nonlocal failed
        if failed or not isinstance(result, torch.Tensor) or result.ndim == 0 or len(result) % full:
            return
        if next(layer.parameters(recurse=False), None) is None:
            # A layer without weights may work in place, so it is not tried.
            if result.numel() // full * few % _WHOLE_VECTORS:
                padded_layers[layer] = None
                output.setdefault(layer, 0)
            return
        output[layer] = output.get(layer, 0) + result.numel()
        if layer in padded_layers:
            return
        if result.numel() == full * result.shape[-1]:
            padded_layers[layer] = None
            return
        try:
            part = layer.forward(
                *(_first(value, full, few) for value in inputs),
                **{name: _first(value, full, few) for name, value in named.items()},
            )
        except Exception:
            # Memory ran out, or the layer's input has another layout. The call itself must not fail because of that.
            log.exception("%s could not be tried on %d of %d rows", type(layer).__name__, few, full)
            failed = True
            return
        if not torch.equal(part, result[: len(result) // full * few]):
            padded_layers[layer] = None

    leaves = [part for part in denoiser.modules() if not any(part.children())]
    hooks = [leaf.register_forward_hook(try_few, with_kwargs=True) for leaf in leaves]
    try:
        result = call()
    finally:
        for hook in hooks:
            hook.remove()
    share = sum(output[layer] for layer in padded_layers) / max(1, sum(output.values()))
    return result, None if failed or share > _MOST_PADDED else tuple(padded_layers)


@contextmanager
def padded(layers: Sequence[torch.nn.Module], few: int, full: int) -> Iterator[None]:
    """Run these layers with `full` rows inside the block, although the denoiser is called with `few`.

    A layer raises ValueError if none of its arguments has `few` rows.
    """

    def pad(layer: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if not any(_has_rows(value, few) for value in (*inputs, *named.values())):
            raise ValueError(f"a {type(layer).__name__} that must run with {full} rows was not given {few}")
        return (
            tuple(_lengthened(value, few, full) for value in inputs),
            {name: _lengthened(value, few, full) for name, value in named.items()},
        )

    def cut(_: torch.nn.Module, __: tuple[Any, ...], result: torch.Tensor) -> torch.Tensor:
        return result[: len(result) // full * few]

    hooks = [layer.register_forward_pre_hook(pad, with_kwargs=True) for layer in layers]
    hooks += [layer.register_forward_hook(cut) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _has_rows(value: Any, rows: int) -> bool:
    """Return whether a layer's argument has one or more vectors for each of this many rows."""
    return isinstance(value, torch.Tensor) and value.ndim > 0 and len(value) % rows == 0


def _first(value: Any, full: int, few: int) -> Any:
    """Return the part of a layer's argument that belongs to the first `few` rows."""
    return value[: len(value) // full * few] if _has_rows(value, full) else value


def _lengthened(value: Any, few: int, full: int) -> Any:
    """Return a layer's argument for `full` rows, lengthened by repetitions of its first vector."""
    if not _has_rows(value, few):
        return value
    missing = len(value) // few * (full - few)
    return torch.cat([value, value[:1].expand(missing, *value.shape[1:])])
