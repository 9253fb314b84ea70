"""The fit of the autoencoder: first its core on half-size pictures, which is quick, then all of it."""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from pipelines.studio_tiny.training import parts
from pipelines.studio_tiny.training.captured import Captured
from pipelines.studio_tiny.training.checkpoint import Checkpoint
from pipelines.studio_tiny.training.device import autocast, device
from pipelines.studio_tiny.training.learner import LOOK, Learner, Progress, Running, Stage
from pipelines.studio_tiny.training.pictures import read_shard

CROP = 160


def fit(work: Path, shards: list[Path], core: Stage, full: Stage, seed: int) -> Any:
    """Return the fitted autoencoder; its latents have mean 0 and deviation 1."""
    crops = _Crops(shards)
    vae = _fit(work, crops, parts.core_autoencoder(), core, seed, shrink=2)
    return _fit(work, crops, parts.autoencoder(vae), full, seed, shrink=1)


def _fit(work: Path, crops: "_Crops", vae: Any, stage: Stage, seed: int, *, shrink: int) -> Any:
    """Fit an autoencoder to pictures that are made smaller by `shrink` first, and return it."""
    target = device()
    vae = vae.to(target, memory_format=torch.channels_last)
    norm = Standard(parts.LATENT_CHANNELS).to(target)
    last = f"decoder.layers.{len(vae.decoder.layers) - 1}."
    learner = Learner(vae, stage.lr, ("encoder.layers.0.", last), target)
    checkpoint = Checkpoint(work / f"{stage.name}.pt", vae=vae, norm=norm, muon=learner.muon, adam=learner.adam)
    start, seconds = checkpoint.restore()
    torch.manual_seed(seed + start)
    rng = np.random.default_rng((seed, 1, start))
    progress = Progress(stage.steps, stage.minutes, seconds)
    #: The mean loss, and the mean squared error of pixels.
    shown = Running((2,), 0.05, target)

    def learn(pixels: Tensor) -> None:
        pixels = functional.avg_pool2d(pixels / 127.5 - 1, shrink).to(memory_format=torch.channels_last)
        with autocast(target):
            latents = vae.encode(pixels).latents
        latents = norm(latents.float())
        with autocast(target):
            # A little noise makes the latent space smooth, so that the denoiser's errors do little harm.
            decoded = vae.decode(latents + 0.07 * torch.randn_like(latents)).sample
        loss = _picture_loss(decoded.float(), pixels)
        learner.step(loss)
        shown.add(torch.stack([loss, functional.mse_loss(decoded.float(), pixels)]))

    captured = Captured(learn, target)
    steps = learner.steps(progress, start, warm=50, cool=0.5)
    bar = tqdm(steps, desc=stage.name, initial=start, total=stage.steps, mininterval=10)
    done = start
    for step in bar:
        captured(crops.batch(stage.batch, rng))
        done = step + 1
        if done % LOOK == 0:
            loss, error = shown.value.tolist()
            bar.set_postfix(loss=f"{loss:.4f}", psnr=f"{-10 * math.log10(error / 4):.2f}", refresh=False)
        checkpoint.maybe(done, progress.seconds)
    if done > start:
        checkpoint.now(done, progress.seconds)
    _fold(vae, norm)
    return vae.eval()


def _picture_loss(decoded: Tensor, pixels: Tensor) -> Tensor:
    """Return L1 at three scales, for colours, plus L1 of the gradients, for edges and grain; pixels are −1 … 1."""
    error = decoded - pixels
    loss = error.abs().mean()
    for scale in (4, 16):
        loss = loss + 0.5 * functional.avg_pool2d(error, scale).abs().mean()
    across = (error[..., :, 1:] - error[..., :, :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return loss + 0.7 * (across + down)


class Standard(torch.nn.Module):
    """A layer that centres and scales latents by running statistics, so that the decoder learns on the latents it will get.

    It is not a batch norm, since the statistics of one batch would take away its absolute colours.
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
    """Random crops of random pictures. From the first batch on all pictures are in the device's memory."""

    def __init__(self, shards: list[Path]) -> None:
        self._shards = shards

    @cached_property
    def _sets(self) -> list[Tensor]:
        with ThreadPoolExecutor() as pool:
            read = pool.map(lambda path: read_shard(path).stacked(), self._shards)
            return [torch.from_numpy(pixels).to(device()) for pixels in read]

    def batch(self, count: int, rng: np.random.Generator) -> Tensor:
        """Return `count` random crops (count, 3, CROP, CROP; 0–255)."""
        crops: list[Tensor] = []
        while len(crops) < count:
            pictures = self._sets[int(rng.integers(len(self._sets)))]
            for index in rng.choice(len(pictures), 2, replace=False):
                top = int(rng.integers(pictures.shape[1] - CROP + 1))
                left = int(rng.integers(pictures.shape[2] - CROP + 1))
                crops.append(pictures[int(index), top : top + CROP, left : left + CROP])
        return torch.stack(crops[:count]).permute(0, 3, 1, 2).float()
