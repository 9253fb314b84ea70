"""The latent grid: latents of every family in one layout, and pictures as latents in that layout.

Pipelines keep latents as channels over a grid, perhaps of one frame, or as a row of tokens, each of which holds a small
square of the VAE's latents. In a latent grid they are (images, features, rows, columns).
"""

from typing import Any, Literal

import msgspec
import torch
from torch.nn.functional import pixel_unshuffle

#: `grid` is (n, features, rows, columns), `tokens` (n, rows · columns, features), `frames` (n, 1, rows, columns, features).
Kept = Literal["grid", "tokens", "frames"]
#: Pipelines that keep tokens, but whose calls take a grid.
_GIVEN_A_GRID = frozenset({"Flux2Pipeline", "Flux2KleinPipeline"})
#: VAEs that take films, here of one frame, although their weights do not show it.
_TAKE_FILMS = frozenset({"AutoencoderKLQwenImage21"})


class LatentGrid(msgspec.Struct, frozen=True):
    """The layout in which one pipeline keeps its latents."""

    kept: Kept
    #: Whether its call takes `latents` in the layout in which it keeps them.
    given_as_kept: bool
    #: The side of a cell in pixels.
    cell: int
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, pipeline: Any, latents: torch.Tensor, width: int, height: int) -> "LatentGrid":
        """Return the layout in which a pipeline keeps latents, from those of a picture of this size.

        Raises ValueError if they are no grid.
        """
        if latents.ndim == 4:
            kept: Kept = "grid"
            columns = latents.shape[3]
        elif latents.ndim == 5 and latents.shape[1] == 1:
            kept = "frames"
            columns = latents.shape[3]
        elif latents.ndim == 3:
            kept = "tokens"
            columns = round((latents.shape[1] * width / height) ** 0.5)
        else:
            raise ValueError(f"latents of the shape {tuple(latents.shape)} are no grid")
        name = type(pipeline).__name__
        return cls(kept, name not in _GIVEN_A_GRID, width // columns, latents.dtype, latents.device)

    def spread(self, latents: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """Return latents that are in the pipeline's layout as (n, features, rows, columns)."""
        match self.kept:
            case "grid":
                return latents
            case "tokens":
                return latents.transpose(1, 2).unflatten(2, (rows, columns))
            case "frames":
                return latents[:, 0].permute(0, 3, 1, 2)

    def as_kept(self, grid: torch.Tensor) -> torch.Tensor:
        """Return latents (n, features, rows, columns) in the layout in which the pipeline keeps them."""
        match self.kept:
            case "grid":
                return grid
            case "tokens":
                return grid.flatten(2).transpose(1, 2)
            case "frames":
                return grid.permute(0, 2, 3, 1)[:, None]

    def as_given(self, grid: torch.Tensor) -> torch.Tensor:
        """Return latents (n, features, rows, columns) as the pipeline's call takes them: contiguous, in their own memory."""
        given = self.as_kept(grid) if self.given_as_kept else grid
        return given.to(self.device, self.dtype).clone(memory_format=torch.contiguous_format)

    def encoded(self, pipeline: Any, pictures: torch.Tensor) -> torch.Tensor:
        """Return the latents of pictures (n, 3, height, width; 0–1) in float32.

        They are as the pipeline's last latents, before it rescales them for decoding. Raises what the VAE raises.
        """
        vae = pipeline.vae
        upcast = vae.dtype == torch.float16 and getattr(vae.config, "force_upcast", False)
        if upcast:
            # The pipeline does the same for decoding.
            vae.to(dtype=torch.float32)
        latents = _encode(vae, (pictures * 2 - 1).to(self.device, vae.dtype))
        if upcast:
            vae.to(dtype=torch.float16)
        return self.scaled(pipeline.vae, latents, pictures.shape[-1])

    def scaled(self, vae: Any, latents: torch.Tensor, width: int) -> torch.Tensor:
        """Return the VAE's latents of pictures of this width in the denoiser's scale and cells, in float32."""
        latents = latents.float()
        side = latents.shape[-1] // (width // self.cell)
        config = vae.config
        if hasattr(vae, "bn"):
            latents = pixel_unshuffle(latents, side)
            means = vae.bn.running_mean
            deviations = (vae.bn.running_var.float() + config.batch_norm_eps).sqrt()
            return (latents - _by_feature(means, latents)) / _by_feature(deviations, latents)
        means, deviations = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        scale = getattr(config, "scaling_factor", None) or 1.0
        if means is not None and deviations is not None:
            latents = (latents - _by_feature(means, latents)) * scale / _by_feature(deviations, latents)
        else:
            latents = (latents - (getattr(config, "shift_factor", None) or 0.0)) * scale
        return pixel_unshuffle(latents, side)


def _encode(vae: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return the VAE's latents of pictures (n, 3, height, width; −1 to 1), without a random draw."""
    if getattr(vae.config, "in_channels", 3) == 4:
        # The fourth channel says how opaque a picture is.
        pixels = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)
    films = type(vae).__name__ in _TAKE_FILMS or any(weights.ndim == 5 for weights in vae.parameters())
    encoded = vae.encode(pixels[:, :, None] if films else pixels)
    if hasattr(encoded, "latent_dist"):
        latents = encoded.latent_dist.mode()
    else:
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent
    return latents[:, :, 0] if films else latents


def _by_feature(values: Any, latents: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=latents.device).view(1, -1, 1, 1)
