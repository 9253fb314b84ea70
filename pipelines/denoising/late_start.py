"""A pipeline's call that begins in the middle of its schedule, from latents that are given.

diffusers has pipelines that change a picture for some families only. The call that makes a picture takes `latents` in every
family, so that does it here: its scheduler leaves out the first steps.
"""

from collections.abc import Mapping
from functools import wraps
from typing import Any

import torch

#: Schedulers that draw noise at each step.
_DRAW_NOISE = frozenset({"EulerAncestralDiscreteScheduler", "FlowMatchLCMScheduler", "LCMScheduler"})


def draws_noise(scheduler: Any, arguments: Mapping[str, Any]) -> bool:
    """Return whether a scheduler adds fresh noise after each step of a call with a card's `arguments`."""
    return (
        type(scheduler).__name__ in _DRAW_NOISE
        or str(getattr(scheduler.config, "algorithm_type", "")).startswith("sde")
        or bool(getattr(scheduler.config, "stochastic_sampling", False))
        # A card that says it to a scheduler that does not use it is refused.
        or arguments.get("eta", 0) > 0
    )


class LateStart:
    """The picture that a call begins with, and the noise that is added to it when its schedule is known."""

    def __init__(self, clean: torch.Tensor, noise: torch.Tensor, steps: int) -> None:
        """Begin `steps` before the end. `clean` and `noise` have the shape of the call's `latents`."""
        self._clean, self._noise, self.steps = clean, noise, steps
        #: What the call is given as `latents`. They are filled in when it has set its timesteps.
        self.latents = clean.clone()

    def shorten(self, scheduler: Any) -> None:
        """Have this scheduler, which no other call may use, make only the last steps of every schedule that it is told of."""
        set_timesteps = scheduler.set_timesteps

        @wraps(set_timesteps)
        def set_last_timesteps(*arguments: Any, **keywords: Any) -> None:
            set_timesteps(*arguments, **keywords)
            self._shorten(scheduler)

        scheduler.set_timesteps = set_last_timesteps

    def _shorten(self, scheduler: Any) -> None:
        first = max(0, len(scheduler.timesteps) - self.steps)
        sigmas = getattr(scheduler, "sigmas", None)
        if sigmas is not None and len(sigmas) == len(scheduler.timesteps) + 1:
            scheduler.sigmas = sigmas[first:]
        scheduler.timesteps = scheduler.timesteps[first:]
        if hasattr(scheduler, "set_begin_index"):
            # Those that count their steps have to know how many there are.
            scheduler.num_inference_steps = len(scheduler.timesteps)
            scheduler.set_begin_index(0)
        if hasattr(scheduler, "scale_noise"):
            noisy = scheduler.scale_noise(self._clean, scheduler.timesteps[:1], self._noise)
        else:
            noisy = scheduler.add_noise(self._clean, self._noise, scheduler.timesteps[:1])
        # A call multiplies what it is given by this, if its scheduler has it.
        self.latents.copy_(noisy / float(getattr(scheduler, "init_noise_sigma", 1.0)))
