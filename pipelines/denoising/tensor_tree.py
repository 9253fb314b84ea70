"""Tensor trees: tensors in nested lists, tuples and dicts, as denoisers take and give them."""

from collections.abc import Iterator
from typing import Any

import torch


def signature(value: Any, multiple: int = 1) -> Any:
    """Return a value that is equal for trees that can be joined along their first dimension.

    Tensors of two dimensions in a list are sequences. Their lengths are rounded up to the next `multiple`.
    """
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), value.dtype)
    if isinstance(value, dict):
        return tuple((name, signature(inner, multiple)) for name, inner in sorted(value.items()))
    if isinstance(value, list):
        return (list, *(_sequence(inner, multiple) for inner in value))
    if isinstance(value, tuple):
        return (tuple, *(signature(inner, multiple) for inner in value))
    # The type tells 1, 1.0 and True apart.
    return (type(value), value)


def _sequence(value: Any, multiple: int) -> Any:
    if isinstance(value, torch.Tensor) and value.ndim == 2:
        return (-(-len(value) // multiple) * multiple, value.shape[1], value.dtype)
    return signature(value, multiple)


def same(one: Any, other: Any) -> bool:
    """Return whether two trees hold the same bits."""
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and bool(torch.equal(_bytes(one), _bytes(other)))
    if isinstance(one, dict):
        return all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    # This copies, since a single row may come with any stride.
    return torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.reshape(-1)).view(torch.uint8)


def finite(result: Any) -> bool:
    """Return whether all numbers in a tree are finite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors(result))


def join(values: list[Any], rows: int) -> Any:
    """Join trees into one: tensors and lists along their first dimension. Everything else is as in the first tree."""
    first = values[0]
    if isinstance(first, torch.Tensor):
        return torch.cat([value.expand(rows) if value.ndim == 0 else value for value in values])
    if isinstance(first, dict):
        return {name: join([value[name] for value in values], rows) for name in first}
    if isinstance(first, list):
        return [inner for value in values for inner in value]
    return first


def part(result: Any, start: int, rows: int) -> Any:
    """Return rows `start` … `start + rows − 1` of everything in a tree."""
    if isinstance(result, torch.Tensor):
        return result[start : start + rows]
    if isinstance(result, dict):
        return type(result)(**{name: part(value, start, rows) for name, value in result.items()})
    if isinstance(result, list):
        return result[start : start + rows]
    if isinstance(result, tuple):
        return tuple(part(value, start, rows) for value in result)
    return result


def second_half(value: Any, rows: int) -> Any:
    """Return a tree with only the second half of its tensors of `rows` rows, an even number; all else stays."""
    if isinstance(value, torch.Tensor):
        return value[rows // 2 :] if value.ndim and len(value) == rows else value
    if isinstance(value, dict):
        return {name: second_half(inner, rows) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(second_half(inner, rows) for inner in value)
    return value


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield all tensors of a tree; those of a dict in the order of its names, as in a signature."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for name in sorted(value):
            yield from tensors(value[name])
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from tensors(inner)


def with_tensors(value: Any, others: Iterator[torch.Tensor]) -> Any:
    """Return the same tree with other tensors, which are in the order of `tensors`."""
    if isinstance(value, torch.Tensor):
        return next(others)
    if isinstance(value, dict):
        filled = {name: with_tensors(value[name], others) for name in sorted(value)}
        return type(value)(**{name: filled[name] for name in value})
    if isinstance(value, list | tuple):
        return type(value)(with_tensors(inner, others) for inner in value)
    return value
