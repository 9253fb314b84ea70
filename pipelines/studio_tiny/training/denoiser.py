"""The fit of the denoiser and the text encoder, which learn together."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from pipelines.studio_tiny.training import parts
from pipelines.studio_tiny.training.captured import Captured
from pipelines.studio_tiny.training.checkpoint import Checkpoint
from pipelines.studio_tiny.training.device import autocast, device
from pipelines.studio_tiny.training.latents import Pool, tokenize
from pipelines.studio_tiny.training.learner import LOOK, Learner, Progress, Running, Stage

#: The part of the prompts that is left empty, for guidance (Ho and Salimans 2022).
_BLANK = 0.1
#: Steps with a larger ratio of signal to noise than this count less (Hang et al. 2023).
_SIGNAL = 5.0


#: The loss of a model on clean latents (batch, channels, height, width) and tokens (batch, words).
Loss = Callable[[Any, Tensor, Tensor], Tensor]


class Lesson(msgspec.Struct, frozen=True):
    """Pictures, and the loss by which a step learns from a batch of them."""

    pool: Pool
    #: Adds the sets that have arrived to the pool.
    take: Callable[[], None]
    loss: Loss
    #: Steps before the next lesson's turn.
    turns: int = 1


def fit(
    work: Path, stage: Stage, begun: Any, lessons: Sequence[Lesson], seed: int, save: Callable[[Any, Any], None]
) -> Any:
    """Fit a stage to its end, and return its averaged model, frozen.

    It begins with the weights of the model `begun`, and goes through the lessons over and over. `save` gets the averaged text
    encoder and UNet now and then.
    """
    target = device()
    torch.manual_seed(seed)
    # On a CPU convolutions are faster with the channels last.
    memory_format = torch.channels_last if target.type == "cpu" else torch.preserve_format
    average = copy.deepcopy(begun).to(target, memory_format=memory_format).requires_grad_(False)
    model = copy.deepcopy(average).requires_grad_(True).train()
    learner = Learner(model, stage.lr, ("embed", ".conv_in.", ".conv_out."), target)
    kept = {"model": model, "average": average, "muon": learner.muon, "adam": learner.adam}
    checkpoint = Checkpoint(work / f"denoiser-{stage.name}.pt", **kept)
    start, seconds = checkpoint.restore()
    rng = np.random.default_rng((seed, 3, start))
    torch.manual_seed(seed + start)
    progress = Progress(stage.steps, stage.minutes, seconds)
    if progress.at(start) >= 1:
        return average
    # This may wait for the first pictures, and that time should not count.
    for lesson in lessons:
        lesson.take()
    progress.begin()
    shown = Running((), 0.01, target)
    #: By what part the average moves to the model at a step.
    nearer = torch.ones((), device=target)

    def learn(loss_of: Loss, clean: Tensor, tokens: Tensor) -> None:
        loss = loss_of(model, clean.float(), tokens)
        learner.step(loss)
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, nearer)
        shown.add(loss)

    taught = [(lesson, Captured(partial(learn, lesson.loss), target)) for lesson in lessons]
    turns = [turn for turn in taught for _ in range(turn[0].turns)]
    steps = learner.steps(progress, start, warm=200, cool=0.3)
    bar = tqdm(steps, desc=f"denoiser {stage.name}", initial=start, total=stage.steps, mininterval=20)
    done = start
    for step in bar:
        lesson, captured = turns[step % len(turns)]
        lesson.take()
        nearer.fill_(max(0.0005, 19 / (20 + step)))
        captured(*lesson.pool.draw(stage.batch, rng))
        done = step + 1
        if done % LOOK == 0:
            pictures = sum(lesson.pool.pictures for lesson in lessons)
            bar.set_postfix(loss=f"{shown.value.item():.4f}", pictures=pictures, refresh=False)
        if checkpoint.maybe(done, progress.seconds):
            save(average["text"], average["unet"])
    if done > start:
        checkpoint.now(done, progress.seconds)
        save(average["text"], average["unet"])
    return average


def fresh() -> Any:
    """Return the text encoder and the UNet, untrained, as one module."""
    return joined(parts.text_encoder(), parts.denoiser())


def joined(text: Any, unet: Any) -> Any:
    """Return a text encoder and a UNet as one module."""
    return torch.nn.ModuleDict({"text": text, "unet": unet})


def from_noise(least: float = 0, most: float = 1) -> Loss:
    """Return the loss that teaches a model from nothing: of velocity (Salimans and Ho 2022), with the weights of min-SNR.

    Its times are from `least` to `most`: 0 is the clean picture, and 1 noise alone.
    """
    signal = parts.scheduler().alphas_cumprod.to(device())
    nothing = tokenize(parts.tokenizer(), [""])[0].to(device())

    def loss(model: Any, clean: Tensor, tokens: Tensor) -> Tensor:
        noise = torch.randn_like(clean)
        # Each picture's time is from a stretch of its own, which gives less noise in the gradient than free times.
        places = torch.arange(len(clean), device=clean.device)
        stretch = (places + torch.rand(len(clean), device=clean.device)) / len(clean)
        times = ((least + stretch * (most - least)) * len(signal)).long().clamp_max(len(signal) - 1)
        kept, lost = signal[times].sqrt(), (1 - signal[times]).sqrt()
        ratio = signal[times] / (1 - signal[times]).clamp_min(1e-6)
        weight = (ratio + 1).clamp_max(_SIGNAL) / (ratio + 1)
        kept, lost = kept[:, None, None, None], lost[:, None, None, None]
        blank = torch.rand(len(tokens), 1, device=tokens.device) < _BLANK
        velocity = predict(model, kept * clean + lost * noise, times, torch.where(blank, nothing, tokens))
        error = functional.mse_loss(velocity, kept * noise - lost * clean, reduction="none").mean((1, 2, 3))
        return (weight * error).mean()

    return loss


def predict(model: Any, noisy: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
    """Return the velocity that a model predicts for noisy latents at these times (batch,)."""
    # On these short sequences plain attention is the fastest on a CPU.
    with autocast(noisy.device), sdpa_kernel(SDPBackend.MATH):
        velocity: Tensor = model["unet"](noisy, times, model["text"](tokens)[0]).sample
    return velocity.float()
