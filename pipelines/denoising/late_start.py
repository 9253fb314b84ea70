"""The late start: a pipeline's call that begins in the middle of its schedule, from given latents.

diffusers has pipelines that change a picture for some families only. But the call that makes a picture takes `latents` in
every family. So that call is used, and its scheduler leaves out the first steps.
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
        # Every scheduler that gets it here uses it: checks.call refuses a card that gives it to another.
        or arguments.get("eta", 0) > 0
    )


class LateStart:
    """The picture that a call begins with, and the noise that is added to it once the schedule is known."""

    def __init__(self, clean: torch.Tensor, noise: torch.Tensor, steps: int) -> None:
        """Begin `steps` before the end. `clean` and `noise` have the shape of the call's `latents`."""
        self._clean, self._noise, self.steps = clean, noise, steps
        #: The argument `latents` of the call. Its numbers are filled in once the scheduler has set its timesteps.
        self.latents = clean.clone()

    def shorten(self, scheduler: Any) -> None:
        """Have this scheduler, which no other call may use, make only the last steps of every schedule that it sets."""
        set_timesteps = scheduler.set_timesteps
        if type(scheduler).__name__ == "PNDMScheduler":
            # Its other way to begin takes the first steps of the whole schedule.
            scheduler.register_to_config(skip_prk_steps=True)

        @wraps(set_timesteps)
        def set_last_timesteps(*arguments: Any, **keywords: Any) -> None:
            set_timesteps(*arguments, **keywords)
            self._shorten(scheduler)

        scheduler.set_timesteps = set_last_timesteps

    def _shorten(self, scheduler: Any) -> None:
        timesteps, calls_twice = scheduler.timesteps, type(scheduler).__name__ == "PNDMScheduler"
        if calls_twice:
            # The second call of the first step has the timestep of the step after it.
            timesteps = torch.cat([timesteps[:1], timesteps[2:]])
        first = max(0, len(timesteps) - self.steps)
        sigmas = getattr(scheduler, "sigmas", None)
        if sigmas is not None and len(sigmas) == len(timesteps) + 1:
            scheduler.sigmas = sigmas[first:]
        timesteps = timesteps[first:]
        scheduler.timesteps = torch.cat([timesteps[:2], timesteps[1:]]) if calls_twice else timesteps
        if hasattr(scheduler, "set_begin_index"):
            # A scheduler that counts its steps must know how many are left.
            scheduler.num_inference_steps = len(scheduler.timesteps)
            scheduler.set_begin_index(0)
        if hasattr(scheduler, "scale_noise"):
            noisy = scheduler.scale_noise(self._clean, scheduler.timesteps[:1], self._noise)
        else:
            noisy = scheduler.add_noise(self._clean, self._noise, scheduler.timesteps[:1])
        # The call multiplies its `latents` by this number, if its scheduler has it.
        self.latents.copy_(noisy / float(getattr(scheduler, "init_noise_sigma", 1.0)))
