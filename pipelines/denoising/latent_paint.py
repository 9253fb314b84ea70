"""Latent paint: linear maps from a picture's cells to their colours, and from a change of colour to one of latents.

A VAE encodes colour nearly linearly (Pach et al. 2026, The Latent Color Subspace, arXiv:2603.12261). Both maps are fitted by
least squares to coloured fields that the model's own VAE encodes. The fields are always the same, so equal weights give equal
maps, whatever the model made before.
"""

from typing import Any

import msgspec
import torch
from torch.nn.functional import adaptive_avg_pool2d

from pipelines.denoising.latent_colors import coloured_fields, with_one
from pipelines.denoising.latent_grid import LatentGrid

#: How many fields have one flat colour.
_FLAT = 32
#: How strongly the fit draws weights to 0, as a part of each feature's own scale.
_RIDGE = 1e-3


class Paint(msgspec.Struct, frozen=True):
    """Both maps, as matrices: the first for cells within a picture, the second for its rim, which a VAE encodes otherwise."""

    #: Their shapes are (2, features + 1, 3) and (2, 4, features). The last row of each matrix is the constant.
    to_colors: torch.Tensor
    to_cells: torch.Tensor

    def colors(self, cells: torch.Tensor) -> torch.Tensor:
        """Return the colours (rows, columns, 3; sRGB, about 0–1) of a whole picture's cells (rows, columns, features)."""
        within, on_rim = (with_one(cells) @ way for way in self.to_colors)
        return torch.where(_rim(cells), on_rim, within)

    def change(self, colors: torch.Tensor) -> torch.Tensor:
        """Return by how much cells (rows, columns, features) change for a change of their colours (rows, columns, 3)."""
        within, on_rim = (colors @ way[:-1] for way in self.to_cells)
        return torch.where(_rim(colors), on_rim, within)


class LatentPaint:
    """The paint of one loaded model, which is fitted when it is first needed."""

    def __init__(self) -> None:
        self._fitted: Paint | None = None

    def of(self, pipeline: Any, grid: LatentGrid) -> Paint:
        """Return the paint of a pipeline that keeps its latents in this layout. Raises what its VAE raises."""
        if self._fitted is None:
            self._fitted = _fitted(pipeline, grid)
        return self._fitted


def _fitted(pipeline: Any, grid: LatentGrid) -> Paint:
    fields = _fields()
    # The fields are encoded one by one, which takes little memory.
    latents = torch.cat([grid.encoded(pipeline, field[None]) for field in fields]).cpu()
    under = adaptive_avg_pool2d(fields, latents.shape[-2:])
    cells, colors = (values.permute(0, 2, 3, 1) for values in (latents, under))
    rim = _rim(cells[0])[..., 0]
    parts = [(cells[:, part].flatten(0, 1).double(), colors[:, part].flatten(0, 1).double()) for part in (~rim, rim)]
    return Paint(
        torch.stack([_solved(with_one(cells), colors) for cells, colors in parts]).float().to(grid.device),
        torch.stack([_solved(with_one(colors), cells) for cells, colors in parts]).float().to(grid.device),
    )


def _fields() -> torch.Tensor:
    """Return flat and soft fields in all colours (n, 3, 128, 128; 0–1), the same in every call."""
    soft = coloured_fields()
    numbers = torch.Generator("cpu").manual_seed(0)
    flat = torch.rand(_FLAT, 3, 1, 1, generator=numbers).expand(-1, -1, *soft.shape[2:])
    return torch.cat([flat, soft])


def _solved(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    squares = given.T @ given
    ridge = _RIDGE * squares.diagonal()
    # The constant is not drawn to 0.
    ridge[-1] = 0.0
    return torch.linalg.solve(squares + ridge.diag(), given.T @ wanted)


def _rim(values: torch.Tensor) -> torch.Tensor:
    """Return whether each cell of (rows, columns, n) is at the edge of the picture (rows, columns, 1)."""
    rim = torch.ones((*values.shape[:2], 1), dtype=torch.bool, device=values.device)
    rim[1:-1, 1:-1] = False
    return rim
