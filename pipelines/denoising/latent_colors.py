"""The colours of latents by a linear map, fitted by least squares; decoding with the VAE would cost as much as a step.

Maps of this kind are known as latent RGB factors, and made by hand for single models. Here one is fitted for each loaded
model: to coloured fields that its VAE encodes, if it is of a known class, and to its own first finished images, whatever the
family.
"""

import logging
from typing import Any

import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

log = logging.getLogger(__name__)

#: How many finished images the map is fitted to.
ENOUGH = 8
#: Pixels of a coloured field's side, and how many random colours each field has along it.
_FIELD = 128
_BUMPS = (1, 2, 3, 5, 8, 16)
#: How strongly the fit draws weights to 0: as a part of each feature's scale, and the least added to that.
_RIDGE = 1e-3
_TINY = 1e-9


class LatentColors:
    """The map from latents to colours of one loaded model."""

    def __init__(self) -> None:
        #: The sums of least squares, by the number of features of a cell.
        self._sums: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._weights: dict[int, torch.Tensor] = {}
        self._learned = 0
        self._primed = False

    def prime(self, pipeline: Any, device: torch.device) -> None:
        """Fit the map to coloured fields that the pipeline's VAE encodes on a device; do nothing if its class is unknown."""
        if self._primed:
            return
        self._primed = True
        vae: Any = getattr(pipeline, "vae", None)
        if type(vae).__name__ not in ("AutoencoderKL", "AutoencoderTiny"):
            return
        fields = coloured_fields()
        encoded = vae.encode((fields * 2 - 1).to(device, vae.dtype))
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        latents = ((latents - shift) * vae.config.scaling_factor).float().cpu()
        if not torch.isfinite(latents).all():
            return
        for latent, field in zip(latents, fields, strict=True):
            self._add(latent.permute(1, 2, 0), field)
            if latent.shape[1] % 2 == 0:
                # Transformers take 2 × 2 latents as one token.
                self._add(_packed(latent), field)

    def learn(self, latents: torch.Tensor, image: torch.Tensor) -> None:
        """Fit the map to a finished image (3, height, width; 0–1) and the latents that it was decoded from."""
        if self._learned >= ENOUGH:
            return
        cells = cells_of(latents, image.shape[2], image.shape[1])
        if cells is None or not torch.isfinite(cells).all() or not torch.isfinite(image).all():
            return
        self._learned += 1
        self._add(cells, image)

    def picture(self, latents: torch.Tensor, width: int, height: int) -> torch.Tensor | None:
        """Return the picture (rows, columns, 3; 0–1) of one image's latents; None if the map was not fitted to their kind."""
        cells = cells_of(latents, width, height)
        if cells is None or cells.shape[2] not in self._sums:
            return None
        rows, columns, features = cells.shape
        side = _side(features)
        colors = with_one(cells) @ self._fitted(features)
        tiles = colors.view(rows, columns, side, side, 3).permute(0, 2, 1, 3, 4)
        return tiles.reshape(rows * side, columns * side, 3).nan_to_num().clamp(0, 1)

    def _add(self, cells: torch.Tensor, image: torch.Tensor) -> None:
        rows, columns, features = cells.shape
        side = _side(features)
        tiles = adaptive_avg_pool2d(image.float(), (rows * side, columns * side))
        wanted = tiles.view(3, rows, side, columns, side).permute(1, 3, 2, 4, 0).reshape(rows * columns, -1).double()
        given = with_one(cells).flatten(0, 1).double()
        size = features + 1
        squares, products = self._sums.get(features, (torch.zeros(size, size).double(), torch.zeros(size, 1).double()))
        # Every image counts the same, however many cells it has.
        self._sums[features] = (squares + given.T @ given / len(given), products + given.T @ wanted / len(given))
        self._weights.pop(features, None)

    def _fitted(self, features: int) -> torch.Tensor:
        if features not in self._weights:
            squares, products = self._sums[features]
            ridge = _RIDGE * squares.diagonal() + _TINY
            # The constant, which stands for the mean colour, is not drawn to 0.
            ridge[-1] = 0.0
            self._weights[features] = torch.linalg.solve(squares + ridge.diag(), products).float()
        return self._weights[features]


def cells_of(latents: torch.Tensor, width: int, height: int) -> torch.Tensor | None:
    """Return one image's latents (rows, columns, features) on the CPU, whatever the family; None if they are no grid.

    They come as channels over a grid, perhaps of one frame, or as a row of tokens, with a batch dimension of 1.
    """
    if latents.shape[0] != 1:
        return None
    one = latents[0]
    if one.dim() == 4 and one.shape[0] == 1:
        # Kandinsky 5 has its frame first and its channels last.
        return one[0].float().cpu()
    if one.dim() == 4 and one.shape[1] == 1:
        one = one.squeeze(1)
    if one.dim() == 2:
        tokens, features = one.shape
        columns = round((tokens * width / height) ** 0.5)
        if columns == 0 or tokens % columns:
            return None
        return one.float().cpu().reshape(tokens // columns, columns, features)
    if one.dim() != 3:
        return None
    return one.permute(1, 2, 0).float().cpu()


def coloured_fields() -> torch.Tensor:
    """Return soft fields in all colours (n, 3, 128, 128; 0–1), the same in every call."""
    numbers = torch.Generator("cpu").manual_seed(0)
    fields = [
        interpolate(torch.rand(1, 3, bumps, bumps, generator=numbers), (_FIELD, _FIELD), mode="bicubic")
        for bumps in _BUMPS
    ]
    return torch.cat(fields).clamp(0, 1)


def _packed(latent: torch.Tensor) -> torch.Tensor:
    channels, rows, columns = latent.shape
    tiles = latent.view(channels, rows // 2, 2, columns // 2, 2).permute(1, 3, 0, 2, 4)
    return tiles.reshape(rows // 2, columns // 2, channels * 4)


def _side(features: int) -> int:
    """Return how many pixels of the picture a cell covers along its side: more if it has more features."""
    return 4 if features >= 48 else 2 if features >= 8 else 1


def with_one(values: torch.Tensor) -> torch.Tensor:
    """Return features (…, n) with a constant 1 as the last one (…, n + 1)."""
    return torch.cat([values, torch.ones_like(values[..., :1])], dim=-1)
