"""What an image's latents would be at the end, guessed from two steps of the way there."""

from typing import Any

import torch

#: Between two steps that differ by less, nothing can be told apart.
_LEAST = 1e-4


def forecast(scheduler: Any, call: int, before: torch.Tensor | None, after: torch.Tensor | None) -> torch.Tensor | None:
    """Return the latents that are left if the noise of the last step is taken away; None while nothing is known of it.

    A scheduler that tells its noise in a way that is not known here gives `after` itself.

    Latents are `a · picture + b · noise`. If a step from `before` to `after`, that of denoiser call `call`, changes a and b
    alone, as a step of DDIM or of Euler does (Song et al. 2021, arXiv:2010.02502), two of them tell picture and noise.
    """
    if before is None or after is None:
        return None
    known, reached = mix(scheduler, call), mix(scheduler, call + 1)
    if known is None or reached is None:
        return after
    (a, b), (next_a, next_b) = known, reached
    determinant = next_a * b - a * next_b
    if determinant < _LEAST:
        return after
    return (b * after.float() - next_b * before.float()) / determinant


def mix(scheduler: Any, call: int) -> tuple[float, float] | None:
    """Return (a, b) before a denoiser call, after the last one (1, 0); None if the scheduler tells them in another way.

    Latents are `a · picture + b · noise`.
    """
    timesteps = scheduler.timesteps
    if call >= len(timesteps):
        return 1.0, 0.0
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and len(sigmas) == len(timesteps) + 1:
        sigma = float(sigmas[call])
        if "FlowMatch" in type(scheduler).__name__ or scheduler.config.get("use_flow_sigmas"):
            return 1.0 - sigma, sigma
        # Those that start at the noise's full strength add it; the others keep the whole at one strength.
        scale = 1.0 if float(scheduler.init_noise_sigma) > 1.0 else (1.0 + sigma**2) ** -0.5
        return scale, scale * sigma
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return None
    alpha = float(alphas[int(timesteps[call])])
    return alpha**0.5, (1.0 - alpha) ** 0.5
