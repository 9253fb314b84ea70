"""Train studio-tiny from nothing: render pictures, fit the autoencoder, encode once, fit the denoiser with its text.

Every stage keeps checkpoints in a work folder and goes on where it was stopped. With the same arguments and device the
same pictures are drawn in the same order.
"""

import copy
import math
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from pipelines.studio_tiny import architecture
from pipelines.studio_tiny.pictures import SHARD, read_shard, render_shards

SEED = 0
CROP = 256
CHECKPOINT_S = 120.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything; the shipped weights are of the defaults, in several runs."""

    work: Path
    #: A pipeline folder to start from; its autoencoder is kept. None: start from nothing.
    start: Path | None = None
    pictures: int = 12_288
    workers: int = 2
    core_steps: int = 800
    core_batch: int = 16
    autoencoder_steps: int = 2500
    autoencoder_batch: int = 8
    #: On pictures of half the size, where a sample costs a quarter; the composition is learnt here.
    coarse_steps: int = 3330
    coarse_batch: int = 64
    fine_steps: int = 2470
    fine_batch: int = 32
    #: Stop the denoiser's training after so many minutes, if it is not done before.
    minutes: float = math.inf


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(plan: Plan, out: Path) -> None:
    """Run every stage that is not finished, then write the pipeline folder."""
    # torch counts a core with two threads once, and convolutions gain from the second.
    torch.set_num_threads(os.cpu_count() or 1)
    shards = [
        future.result()
        for future in tqdm(
            render_shards(plan.work / "pictures", range(plan.pictures // SHARD), SEED, plan.workers),
            desc="pictures",
            unit="shard",
        )
    ]
    parts = _fresh(plan, shards) if plan.start is None else _stored(plan.start)
    coarse, fine = encode(plan, shards, parts.vae, shrink=2), encode(plan, shards, parts.vae, shrink=1)
    text, unet = train_denoiser(plan, parts, coarse, fine)
    save(parts.vae, text, unet, out)


class _Parts(msgspec.Struct, frozen=True):
    vae: Any
    text: Any
    unet: Any


def _fresh(plan: Plan, shards: list[Path]) -> _Parts:
    """An autoencoder fitted to the pictures, the other parts untrained."""
    vae = train_autoencoder(plan, shards)
    torch.manual_seed(SEED)
    return _Parts(vae, architecture.text_encoder(), architecture.denoiser())


def _stored(folder: Path) -> _Parts:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    return _Parts(pipeline.vae.to(device()), pipeline.text_encoder, pipeline.unet)


def save(vae: Any, text: Any, unet: Any, out: Path) -> None:
    """Write the diffusers folder in float16; the server loads it in the dtype of its model card."""
    pipeline = architecture.pipeline(vae, text, unet).to(torch.float16)
    pipeline.save_pretrained(out, safe_serialization=True)


# ── the autoencoder ──────────────────────────────────────────────────────────────────────────────────────────────────


def train_autoencoder(plan: Plan, shards: list[Path]) -> Any:
    """First the core on half-size pictures, which is quick, then all of it; latents have mean 0 and deviation 1."""
    core = _Stage("core", plan.core_steps, plan.core_batch, shrink=2, lr=2e-3)
    full = _Stage("autoencoder", plan.autoencoder_steps, plan.autoencoder_batch, shrink=1, lr=1e-3)
    vae = _fit(plan, shards, architecture.core_autoencoder(), core)
    return _fit(plan, shards, architecture.autoencoder(vae), full)


class _Stage(msgspec.Struct, frozen=True):
    name: str
    steps: int
    batch: int
    shrink: int
    lr: float


def _fit(plan: Plan, shards: list[Path], vae: Any, stage: _Stage) -> Any:
    """Fit on random crops."""
    target = device()
    vae = vae.to(target, memory_format=torch.channels_last)
    norm = _Standard(architecture.LATENT_CHANNELS).to(target)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=stage.lr, betas=(0.9, 0.99), weight_decay=1e-4)
    checkpoint = _Checkpoint(plan.work / f"{stage.name}.pt", target, vae=vae, norm=norm, optimizer=optimizer)
    start = checkpoint.restore()
    torch.manual_seed(SEED + start)
    rng = np.random.default_rng((SEED, 1, start))
    smooth = 0.0
    bar = tqdm(range(start, stage.steps), desc=stage.name, initial=start, total=stage.steps)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = stage.lr * _schedule(step, stage.steps, warm=50, cool=0.5)
        pixels = functional.avg_pool2d(_crops(shards, stage.batch, rng), stage.shrink)
        pixels = pixels.to(target, memory_format=torch.channels_last)
        with _autocast(target):
            latents = vae.encode(pixels).latents
        latents = norm(latents.float())
        with _autocast(target):
            # A little noise makes the latent space smooth, which the denoiser's errors will need.
            decoded = vae.decode(latents + 0.07 * torch.randn_like(latents)).sample
        loss = _picture_loss(decoded.float(), pixels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        psnr = -10 * math.log10(functional.mse_loss(decoded.float(), pixels).item() / 4)
        smooth = psnr if step == start else 0.95 * smooth + 0.05 * psnr
        bar.set_postfix(loss=f"{loss.item():.4f}", psnr=f"{smooth:.2f}")
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


class _Standard(torch.nn.Module):
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


def _fold(vae: Any, norm: _Standard) -> None:
    """Put the standardisation of the latents into the encoder's last layer."""
    last = vae.encoder.layers[-1]
    with torch.no_grad():
        last.weight /= norm.deviation[:, None, None, None]
        last.bias.copy_((last.bias - norm.mean) / norm.deviation)


def _crops(shards: list[Path], count: int, rng: np.random.Generator) -> Tensor:
    """(count, 3, CROP, CROP), -1 … 1, each from a picture drawn anew."""
    crops = []
    for number in rng.choice(len(shards), count):
        pixels = read_shard(shards[number]).pixels[rng.integers(SHARD)]
        top = int(rng.integers(pixels.shape[0] - CROP + 1))
        left = int(rng.integers(pixels.shape[1] - CROP + 1))
        crop = pixels[top : top + CROP, left : left + CROP]
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1


# ── latents ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Latents(msgspec.Struct, frozen=True):
    #: (SHARD, 8, height / 16, width / 16), float16.
    values: Tensor
    #: (SHARD, 13)
    tokens: Tensor


def encode(plan: Plan, shards: list[Path], vae: Any, shrink: int) -> list[Latents]:
    """The latents of every picture, made smaller by a whole factor first; computed once."""
    target = device()
    folder = plan.work / f"latents-{shrink}"
    folder.mkdir(exist_ok=True)
    tokenizer = architecture.tokenizer()
    encoded = []
    for path in tqdm(shards, desc=f"latents 1/{shrink}", unit="shard"):
        stored = folder / f"{path.stem}.pt"
        if stored.exists():
            encoded.append(Latents(**torch.load(stored)))
            continue
        shard = read_shard(path)
        pixels = torch.from_numpy(np.array(shard.pixels)).permute(0, 3, 1, 2)
        parts = []
        for part in pixels.split(8):
            small = functional.avg_pool2d(part.to(target).float() / 127.5 - 1, shrink)
            with torch.no_grad(), _autocast(target):
                encoded_part = vae.encode(small.contiguous(memory_format=torch.channels_last))
            parts.append(encoded_part.latents.half().cpu())
        values = torch.cat(parts)
        latents = Latents(values, tokenize(tokenizer, shard.prompts))
        partial = stored.with_suffix(".partial")
        torch.save({"values": latents.values, "tokens": latents.tokens}, partial)
        partial.replace(stored)
        encoded.append(latents)
    return encoded


def tokenize(tokenizer: Any, prompts: list[str]) -> Tensor:
    """(prompts, 13), as the pipeline does it."""
    tokens: Tensor = tokenizer(
        prompts, padding="max_length", max_length=architecture.PROMPT_LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return tokens


# ── the denoiser ─────────────────────────────────────────────────────────────────────────────────────────────────────


def train_denoiser(plan: Plan, parts: _Parts, coarse: list[Latents], fine: list[Latents]) -> tuple[Any, Any]:
    """Fit the UNet and the text encoder together, coarse latents first; the averaged weights are what is returned.

    Velocity prediction (Salimans and Ho 2022); one prompt of ten is left out, for guidance (Ho and Salimans 2022).
    """
    target = device()
    model = torch.nn.ModuleDict({"text": parts.text, "unet": parts.unet}).to(target).train()
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    checkpoint = _Checkpoint(plan.work / "denoiser.pt", target, model=model, average=average, optimizer=optimizer)
    start = checkpoint.restore()
    signal = architecture.scheduler().alphas_cumprod.to(target)
    nothing = tokenize(architecture.tokenizer(), [""])[0]
    rng = np.random.default_rng((SEED, 3, start))
    torch.manual_seed(SEED + start)
    coarse_by_size, fine_by_size = _by_size(coarse), _by_size(fine)
    total = plan.coarse_steps + plan.fine_steps
    deadline = time.monotonic() + plan.minutes * 60
    smooth = 0.0
    bar = tqdm(range(start, total), desc="denoiser", initial=start, total=total)
    step = start
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * _schedule(step, total, warm=100, cool=0.25)
        if step < plan.coarse_steps:
            clean, tokens = _draw(coarse_by_size, plan.coarse_batch, rng)
        else:
            clean, tokens = _draw(fine_by_size, plan.fine_batch, rng)
        tokens = torch.where(torch.rand(len(tokens), 1) < 0.1, nothing, tokens).to(target)
        clean = clean.to(target).float()
        noise = torch.randn_like(clean)
        times = torch.randint(0, len(signal), (len(clean),), device=target)
        kept = signal[times].sqrt()[:, None, None, None]
        lost = (1 - signal[times]).sqrt()[:, None, None, None]
        # On these short sequences plain attention saves a seventh of a step's time on a CPU.
        with _autocast(target), sdpa_kernel(SDPBackend.MATH):
            hidden = model["text"](tokens)[0]
            velocity = model["unet"](kept * clean + lost * noise, times, hidden).sample
        loss = functional.mse_loss(velocity.float(), kept * noise - lost * clean)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        _follow(average, model, min(0.9985, (1 + step) / (10 + step)))
        smooth = loss.item() if step == start else 0.98 * smooth + 0.02 * loss.item()
        bar.set_postfix(loss=f"{smooth:.4f}")
        checkpoint.maybe(step + 1)
        if time.monotonic() > deadline:
            break
    checkpoint.now(step + 1)
    return average["text"].eval(), average["unet"].eval()


def _by_size(latents: list[Latents]) -> list[tuple[Tensor, Tensor]]:
    """All latents and tokens of one size together, for every size."""
    sizes: dict[tuple[int, ...], list[Latents]] = {}
    for shard in latents:
        sizes.setdefault(tuple(shard.values.shape[1:]), []).append(shard)
    return [
        (torch.cat([shard.values for shard in group]), torch.cat([shard.tokens for shard in group]))
        for _, group in sorted(sizes.items())
    ]


def _draw(by_size: list[tuple[Tensor, Tensor]], count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch of one size, drawn as often as its share of the pictures."""
    shares = np.array([len(values) for values, _ in by_size], float)
    values, tokens = by_size[int(rng.choice(len(by_size), p=shares / shares.sum()))]
    chosen = torch.from_numpy(rng.integers(0, len(values), count))
    return values[chosen], tokens[chosen]


def _follow(average: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    with torch.no_grad():
        for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)


# ── common ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _schedule(step: int, total: int, warm: int, cool: float) -> float:
    """Up over `warm` steps, level, then down to 2 % over the last part `cool`."""
    left = (total - step) / max(1, cool * total)
    return min(1.0, (step + 1) / warm, max(0.02, left))


def _autocast(target: torch.device) -> Any:
    return torch.autocast(target.type, torch.bfloat16)


class _Checkpoint:
    """Named modules and optimizers in one file, written whole every two minutes."""

    def __init__(self, path: Path, target: torch.device, **parts: Any) -> None:
        self._path, self._target, self._parts = path, target, parts
        self._last = time.monotonic()

    def restore(self) -> int:
        """The number of steps done, 0 where there is no checkpoint."""
        if not self._path.exists():
            return 0
        stored = torch.load(self._path, map_location=self._target)
        for name, part in self._parts.items():
            part.load_state_dict(stored[name])
        return int(stored["steps"])

    def maybe(self, steps: int) -> None:
        if time.monotonic() - self._last > CHECKPOINT_S:
            self.now(steps)

    def now(self, steps: int) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        torch.save({"steps": steps, **{name: part.state_dict() for name, part in self._parts.items()}}, partial)
        partial.replace(self._path)
        self._last = time.monotonic()
