"""Fit the autoencoder: first its core on half-size pictures, which is quick, then all of it."""

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from pipelines.studio_tiny.training import parts
from pipelines.studio_tiny.training.checkpoint import Checkpoint
from pipelines.studio_tiny.training.device import autocast, device, pace
from pipelines.studio_tiny.training.muon import optimizers
from pipelines.studio_tiny.training.pictures import read_shard

CROP = 160


class Stage(msgspec.Struct, frozen=True):
    name: str
    steps: int
    batch: int
    #: Pictures are made smaller by this factor first.
    shrink: int
    lr: float


def fit(work: Path, shards: list[Path], stages: tuple[Stage, Stage], seed: int) -> Any:
    """Return the fitted autoencoder; its latents have mean 0 and deviation 1."""
    core, full = stages
    vae = _fit(work, shards, parts.core_autoencoder(), core, seed)
    return _fit(work, shards, parts.autoencoder(vae), full, seed)


def _fit(work: Path, shards: list[Path], vae: Any, stage: Stage, seed: int) -> Any:
    target = device()
    vae = vae.to(target, memory_format=torch.channels_last)
    norm = Standard(parts.LATENT_CHANNELS).to(target)
    last = f"decoder.layers.{len(vae.decoder.layers) - 1}."
    muon, adam = optimizers(vae, stage.lr, ("encoder.layers.0.", last))
    checkpoint = Checkpoint(work / f"{stage.name}.pt", vae=vae, norm=norm, muon=muon, adam=adam)
    start = checkpoint.restore()
    torch.manual_seed(seed + start)
    rng = np.random.default_rng((seed, 1, start))
    crops = _Crops(shards, rng)
    smooth = 0.0
    bar = tqdm(range(start, stage.steps), desc=stage.name, initial=start, total=stage.steps, mininterval=10)
    for step in bar:
        for group in (*muon.param_groups, *adam.param_groups):
            group["lr"] = stage.lr * pace(step, stage.steps, warm=50, cool=0.5)
        pixels = functional.avg_pool2d(crops.batch(stage.batch), stage.shrink)
        pixels = pixels.to(target, memory_format=torch.channels_last)
        with autocast(target):
            latents = vae.encode(pixels).latents
        latents = norm(latents.float())
        with autocast(target):
            # A little noise makes the latent space smooth, which the denoiser's errors will need.
            decoded = vae.decode(latents + 0.07 * torch.randn_like(latents)).sample
        loss = _picture_loss(decoded.float(), pixels)
        muon.zero_grad()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        muon.step()
        adam.step()
        psnr = -10 * math.log10(functional.mse_loss(decoded.float(), pixels).item() / 4)
        smooth = psnr if step == start else 0.95 * smooth + 0.05 * psnr
        bar.set_postfix(loss=f"{loss.item():.4f}", psnr=f"{smooth:.2f}", refresh=False)
        checkpoint.maybe(step + 1)
    if start < stage.steps:
        checkpoint.now(stage.steps)
    _fold(vae, norm)
    return vae.eval()


def _picture_loss(decoded: Tensor, pixels: Tensor) -> Tensor:
    """L1 at three scales, for colours, and L1 of the gradients, for edges and grain; pixels are -1 … 1."""
    error = decoded - pixels
    loss = error.abs().mean()
    for scale in (4, 16):
        loss = loss + 0.5 * functional.avg_pool2d(error, scale).abs().mean()
    across = (error[..., :, 1:] - error[..., :, :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return loss + 0.7 * (across + down)


class Standard(torch.nn.Module):
    """Centres and scales latents by running statistics, so that the decoder learns on those it will be given.

    Not a batch norm: the statistics of one batch would take its absolute colours away.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("square", torch.ones(channels))
        self.register_buffer("seen", torch.zeros(()))

    @property
    def deviation(self) -> Tensor:
        return (self.square - self.mean**2).clamp_min(1e-6).sqrt()

    def forward(self, latents: Tensor) -> Tensor:
        with torch.no_grad():
            self.seen += 1
            part = torch.clamp(1 / self.seen, min=0.01)
            self.mean.lerp_(latents.mean((0, 2, 3)), part)
            self.square.lerp_(latents.square().mean((0, 2, 3)), part)
        return (latents - self.mean[:, None, None]) / self.deviation[:, None, None]


def _fold(vae: Any, norm: Standard) -> None:
    """Put the standardisation of the latents into the encoder's last layer."""
    last = vae.encoder.layers[-1]
    with torch.no_grad():
        last.weight /= norm.deviation[:, None, None, None]
        last.bias.copy_((last.bias - norm.mean) / norm.deviation)


class _Crops:
    """Random crops of random pictures; a shard once read gives several."""

    def __init__(self, shards: list[Path], rng: np.random.Generator) -> None:
        self._shards, self._rng = shards, rng

    def batch(self, count: int) -> Tensor:
        """Return (count, 3, CROP, CROP), -1 … 1."""
        crops: list[np.ndarray[Any, Any]] = []
        while len(crops) < count:
            shard = read_shard(self._shards[int(self._rng.integers(len(self._shards)))])
            for index in self._rng.choice(len(shard.files), 2, replace=False):
                pixels = shard.pixels(int(index))
                top = int(self._rng.integers(pixels.shape[0] - CROP + 1))
                left = int(self._rng.integers(pixels.shape[1] - CROP + 1))
                crops.append(pixels[top : top + CROP, left : left + CROP])
        return torch.from_numpy(np.stack(crops[:count])).permute(0, 3, 1, 2).float() / 127.5 - 1
