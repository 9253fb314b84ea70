"""Distillation: a model learns to reach in one step what its teacher reaches in two.

This is progressive distillation (Salimans and Ho 2022) along DDIM's path: the student's velocity at a time is the one that
leads to the end of two steps of the teacher. In the first round these are guided, so that the student takes in the guidance
(Meng et al. 2023). A second round halves the steps again; its teacher needs no guidance any more.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipelines.studio_tiny.training import parts
from pipelines.studio_tiny.training.denoiser import Loss, predict
from pipelines.studio_tiny.training.device import device
from pipelines.studio_tiny.training.latents import tokenize


def halving(teacher: Any, steps: int, guidance: float) -> Loss:
    """Return the loss of a student of `steps` steps, whose teacher makes twice as many, guided unless `guidance` is 1."""
    path = Trajectory(steps)
    nothing = tokenize(parts.tokenizer(), [""])[0].to(device())

    def guided(noisy: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
        velocity = predict(teacher, noisy, times, tokens)
        if guidance == 1:
            return velocity
        blank = predict(teacher, noisy, times, nothing.expand_as(tokens))
        return blank + guidance * (velocity - blank)

    def loss(model: Any, clean: Tensor, tokens: Tensor) -> Tensor:
        step = torch.randint(steps, (len(clean),), device=clean.device)
        start, middle, end = (path.angles[2 * step + half] for half in range(3))
        noisy = _turned(clean, torch.randn_like(clean), start)
        with torch.no_grad():
            between = advance(noisy, guided(noisy, path.times[2 * step], tokens), start, middle)
            reached = advance(between, guided(between, path.times[2 * step + 1], tokens), middle, end)
            aim = velocity_to(noisy, reached, start, end)
        return functional.mse_loss(predict(model, noisy, path.times[2 * step], tokens), aim)

    return loss


class Trajectory:
    """The times of a teacher that makes twice `steps` steps, as the scheduler spaces them, and their angles.

    Latents at an angle are cos(angle) × clean + sin(angle) × noise. The angle is π/2 at the start and 0 at the end.
    """

    def __init__(self, steps: int) -> None:
        scheduler = parts.scheduler()
        scheduler.set_timesteps(2 * steps)
        #: Its shape is (2 × steps,).
        self.times = scheduler.timesteps.to(device())
        signal = torch.cat([scheduler.alphas_cumprod[scheduler.timesteps], torch.ones(1)])
        #: Its shape is (2 × steps + 1,).
        self.angles = torch.arccos(signal.sqrt().clamp(0, 1)).to(device())


def advance(noisy: Tensor, velocity: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the latents to which a step of DDIM leads, from one angle (batch,) to another."""
    turn = (start - end)[:, None, None, None]
    return turn.cos() * noisy - turn.sin() * velocity


def velocity_to(noisy: Tensor, reached: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the velocity with which a step of DDIM leads to `reached`."""
    turn = (start - end)[:, None, None, None]
    return (turn.cos() * noisy - reached) / turn.sin()


def _turned(clean: Tensor, noise: Tensor, angle: Tensor) -> Tensor:
    return angle.cos()[:, None, None, None] * clean + angle.sin()[:, None, None, None] * noise
