"""The forecast of an image's last latents, guessed from two steps on the way there."""

from typing import Any

import torch

#: Two steps that differ by less tell nothing of picture and noise.
_LEAST = 1e-4


def forecast(scheduler: Any, call: int, before: torch.Tensor | None, after: torch.Tensor | None) -> torch.Tensor | None:
    """Return the latents without the noise that is left in them; None if `before` or `after` is not known yet.

    If the scheduler has its noise in an unknown form, `after` itself is returned.

    Latents are `a · picture + b · noise`. `before` and `after` are those around denoiser call `call`. If its step changes
    only a and b, as a step of DDIM or Euler does (Song et al. 2021, arXiv:2010.02502), picture and noise follow from the two.
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
    """Return (a, b) before a denoiser call, and (1, 0) after the last one; None if the scheduler has them in an unknown form.

    Latents are `a · picture + b · noise`.
    """
    timesteps = scheduler.timesteps
    if call >= len(timesteps):
        return 1.0, 0.0
    name = type(scheduler).__name__
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and (len(sigmas) == len(timesteps) + 1 or name.startswith("KDPM2")):
        sigma = float(sigmas[call])
        if name.startswith("KDPM2") and call % 2:
            # Every second call is between two sigmas. The ancestral scheduler keeps that level beside the first call's.
            sigma = float(scheduler.sigmas_interpol[call - ("Ancestral" in name)])
        if "FlowMatch" in name or scheduler.config.get("use_flow_sigmas"):
            return 1.0 - sigma, sigma
        # A scheduler that starts with noise above strength 1 adds it to the picture; the others keep the sum at strength 1.
        scale = 1.0 if float(scheduler.init_noise_sigma) > 1.0 else (1.0 + sigma**2) ** -0.5
        return scale, scale * sigma
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return None
    alpha = float(alphas[int(timesteps[call])])
    return alpha**0.5, (1.0 - alpha) ** 0.5
