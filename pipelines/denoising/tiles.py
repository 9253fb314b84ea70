"""Overlapping tiles of a picture that is too large to be processed at once, or of its latents."""

from itertools import pairwise

import torch

#: Neighbouring tiles overlap by at least this part of the largest tile.
_OVERLAP = 1 / 6


class Tiles:
    """A grid of equal tiles that cover a picture. In their overlaps they are mixed.

    A tile's weight rises from its inner edges over the whole overlap, so that no edge shows.
    """

    def __init__(self, rows: int, columns: int, largest: int, multiple: int) -> None:
        """Cover (rows, columns) with as few tiles as possible, of at most `largest` rows and columns.

        Rows and columns of a tile are multiples of `multiple`, as those of the picture are; `largest` must be at least twice
        `multiple`.
        """
        largest = largest // multiple * multiple
        self.rows, tops = _divided(rows, largest, multiple)
        self.columns, lefts = _divided(columns, largest, multiple)
        self._size, self._tops, self._lefts = (rows, columns), tops, lefts

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self._tops) * len(self._lefts)

    def cut(self, whole: torch.Tensor, scale: int = 1) -> list[torch.Tensor]:
        """Return the tiles of a picture (…, rows · scale, columns · scale), which share its memory."""
        height, width = scale * self.rows, scale * self.columns
        return [
            whole[..., scale * top : scale * top + height, scale * left : scale * left + width]
            for top in self._tops
            for left in self._lefts
        ]

    def joined(self, tiles: list[torch.Tensor], scale: int = 1, *, sharp: bool = False) -> torch.Tensor:
        """Return the picture that these tiles, in the order of `cut`, make up: in float32, and mixed in the overlaps.

        If `sharp`, each place is taken from one tile alone: a mean of independent noise would be weaker noise.
        """
        rows, columns = (scale * length for length in self._size)
        down = _weights([scale * top for top in self._tops], scale * self.rows, rows, sharp=sharp)
        across = _weights([scale * left for left in self._lefts], scale * self.columns, columns, sharp=sharp)
        weights = [vertical[:, None] * horizontal[None, :] for vertical in down for horizontal in across]
        whole = torch.zeros((*tiles[0].shape[:-2], rows, columns), device=tiles[0].device)
        for tile, weight, part in zip(tiles, weights, self.cut(whole, scale), strict=True):
            part.add_(tile * weight.to(tile.device))
        return whole


def _divided(length: int, largest: int, multiple: int) -> tuple[int, list[int]]:
    """Return the length of the equal parts of a length, and the beginning of each."""
    if length <= largest:
        return length, [0]
    overlap = max(1, round(largest * _OVERLAP))
    parts = -(-(length - overlap) // max(1, largest - overlap))
    wanted = -(-(length + (parts - 1) * overlap) // parts)
    part = -(-wanted // multiple) * multiple
    return part, [round(index * (length - part) / (parts - 1)) for index in range(parts)]


def _weights(starts: list[int], part: int, length: int, *, sharp: bool) -> list[torch.Tensor]:
    """Return the weights of each part along one side; all weights of one place add up to 1."""
    places = torch.arange(length) + 0.5
    # A ramp says how much of a place belongs to the parts after one part. It rises from 0 to 1 over an overlap.
    rising = [((places - start) / (before + part - start)).clamp(0, 1) for before, start in pairwise(starts)]
    if sharp:
        rising = [(ramp > 0.5).float() for ramp in rising]
    bounds = [torch.ones(length), *rising, torch.zeros(length)]
    return [
        (before - after)[start : start + part] for (before, after), start in zip(pairwise(bounds), starts, strict=True)
    ]
