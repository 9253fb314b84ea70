"""The call of a pipeline for a batch of images: its arguments, and which step each of its denoiser calls ends."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import count
from typing import Any

import msgspec
import numpy as np
import torch

from pipelines.denoising.late_start import LateStart
from pipelines.denoising.steering import Steering, steers
from pipelines.protocol import Item
from pipelines.upscale import SecondPass
from pipelines.worker.loader import LoadedModel


class CallSettings(msgspec.Struct, frozen=True):
    """The settings that all images of a batch have in common, besides the model."""

    width: int
    height: int
    steps: int
    guidance: float
    #: None if the pipeline makes images of this size itself.
    second: SecondPass | None = None

    @property
    def all_steps(self) -> int:
        """Return the number of steps of both passes."""
        return self.steps + (self.second.steps if self.second is not None else 0)

    @property
    def first(self) -> "CallSettings":
        """Return the settings of the first pass, which makes a smaller picture if there is a second one."""
        if self.second is None:
            return self
        factor = self.second.factor
        return CallSettings(self.width // factor, self.height // factor, self.steps, self.guidance)


#: Values of arguments that some calls take, in place of their defaults.
_INSTEAD_OF_DEFAULTS: dict[str, Any] = {
    # Prompts would be cleaned only if two further packages are installed, so the bytes would depend on these.
    "clean_caption": False,
    # Some pipelines would make a size of their own, and stretch the picture.
    "use_resolution_binning": False,
    # The keys and values that a call keeps of its prompt cannot be joined with those of another: docs/decisions/slots.md.
    "use_kv_cache": False,
    # ERNIE-Image and LongCat-Image would write another prompt, by numbers that torch's global generator draws.
    "use_pe": False,
    "enable_prompt_rewrite": False,
    # Ideogram 4 takes this or guidance, but not both.
    "guidance_schedule": None,
}

#: Pipelines that encode a missing negative prompt for one image, and so fail if there are more.
_NEED_NEGATIVE_PROMPTS = frozenset({"LongCatImagePipeline"})


def call_arguments(model: LoadedModel, settings: CallSettings, items: Sequence[Item]) -> dict[str, Any]:
    """Return the arguments of the pipeline's call; pipelines differ in the name of guidance and in negative prompts.

    Every image has a generator of its own, on the CPU whatever the device, so that a seed means the same everywhere.
    """
    taken = inspect.signature(model.pipeline.__call__).parameters
    arguments: dict[str, Any] = {
        "prompt": [item.prompt for item in items],
        "width": settings.width,
        "height": settings.height,
        "num_inference_steps": settings.steps,
        "generator": [torch.Generator("cpu").manual_seed(item.seed) for item in items],
        "output_type": "pt",
        **{name: value for name, value in _INSTEAD_OF_DEFAULTS.items() if name in taken},
        model.card.sampling.guidance_argument: settings.guidance,
        **{name: _as_taken(value, taken[name]) for name, value in model.card.sampling.arguments.items()},
    }
    if "max_area" in taken:
        # FLUX.1 Kontext makes the requested shape with this many pixels, which are those of 1K by default.
        arguments["max_area"] = settings.width * settings.height
    named = any(item.negative_prompt for item in items) or type(model.pipeline).__name__ in _NEED_NEGATIVE_PROMPTS
    if "negative_prompt" in taken and named:
        arguments["negative_prompt"] = [item.negative_prompt for item in items]
    return arguments


def _as_taken(value: Any, parameter: inspect.Parameter) -> Any:
    """Return an argument of a card as the call takes it: TOML has no tuples, and some calls add theirs to other tuples."""
    return tuple(value) if isinstance(value, list) and "tuple" in str(parameter.annotation).lower() else value


class Pictures(msgspec.Struct, frozen=True):
    """The pictures that a pipeline's call returned."""

    #: RGB from 0 to 1 (images, 3, height, width), on the device.
    images: torch.Tensor
    #: Whether the pipeline's safety checker made each of them black. Most pipelines have no such checker.
    blacked_out: list[bool]


def run_call(
    pipeline: Any,
    model: LoadedModel,
    settings: CallSettings,
    items: Sequence[Item],
    after_call: Callable[[int, int | None, torch.Tensor], None],
    start: LateStart | None = None,
) -> Pictures:
    """Call a pipeline for these images, and `after_call` after each of its denoiser calls.

    `after_call` gets the number of the denoiser call, from 0, the step that ended with it, if any, and the latents.
    `pipeline` is the model's or a copy of it; if the call starts late or steers an image, it must be a copy with its own
    scheduler. A late start steers no image: its picture has its colours already.
    """
    arguments = call_arguments(model, settings, items)
    steps = settings.steps
    if start is not None:
        start.shorten(pipeline.scheduler)
        arguments["latents"], steps = start.latents, start.steps
        if sigmas := getattr(pipeline.config, "sample_sigmas", None):
            arguments["sigmas"] = _with_steps(sigmas, settings.steps)
    elif any(map(steers, items)):
        Steering(pipeline, model.paint, items, settings.width, settings.height).attach()
    taken = inspect.signature(pipeline.__call__).parameters
    after_step: Callable[[torch.Tensor], None] | None = None
    if "callback_on_step_end" in taken:

        def on_call_end(pipeline: Any, call: int, _: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            after_call(call, steps_done(pipeline, call, steps), tensors["latents"])
            return tensors

        arguments["callback_on_step_end"] = on_call_end
    elif "callback" in taken:
        # The oldest pipelines of diffusers, such as PixArt's, count steps themselves, and not denoiser calls.
        arguments["callback"] = lambda step, _, latents: after_call(step, step + 1, latents)
    else:
        calls = count()

        def after_step(latents: torch.Tensor) -> None:
            call = next(calls)
            after_call(call, steps_done(pipeline, call, steps), latents)

    _keep_size(pipeline, settings)
    with _stepping(pipeline.scheduler, arguments["generator"], after_step):
        output = pipeline(**arguments)
    images = output.images if hasattr(output, "images") else output.image
    found: Any = getattr(output, "nsfw_content_detected", None)
    return Pictures(opaque(images), [bool(flag) for flag in found] if found else [False] * len(items))


@contextmanager
def _stepping(
    scheduler: Any, generators: Sequence[torch.Generator], after_step: Callable[[torch.Tensor], None] | None
) -> Iterator[None]:
    """Inside the block, have a scheduler draw its noise from these generators, and tell its steps if somebody listens.

    Most pipelines of flow models name no generators; the noise would come from torch's global one.
    """
    step = scheduler.step
    drawn = {"generator": generators} if "generator" in inspect.signature(step).parameters else {}

    @wraps(step)
    def step_from_seeds(*arguments: Any, **keywords: Any) -> Any:
        made = step(*arguments, **{**drawn, **keywords})
        if after_step is not None:
            after_step(made[0])
        return made

    scheduler.step = step_from_seeds
    try:
        yield
    finally:
        # The scheduler may be the model's own, of which slots take copies.
        del scheduler.step


def _with_steps(sigmas: Sequence[float], steps: int) -> list[float]:
    """Return a model's own schedule of noise, resampled to this many steps, without the 0 at its end."""
    moments = np.arange(steps) * len(sigmas) / steps
    return list(np.interp(moments, np.arange(len(sigmas) + 1), [*sigmas, 0.0]))


def opaque(images: torch.Tensor) -> torch.Tensor:
    """Return pictures (n, 3, height, width), laid on white if they have a fourth channel that says how opaque they are."""
    if images.shape[1] != 4:
        return images
    colors, opacity = images[:, :3], images[:, 3:]
    return colors * opacity + (1 - opacity)


def _keep_size(pipeline: Any, settings: CallSettings) -> None:
    """Have a pipeline make the requested size, if it is one of those that would choose another."""
    match type(pipeline).__name__:
        case "Kandinsky5T2IPipeline":
            # It makes the size of this list that is nearest in shape.
            pipeline.resolutions = [(settings.width, settings.height)]
        case "HiDreamImagePipeline":
            # It makes the requested shape with the pixels of a square of this many latents, rounded down to whole patches.
            side = math.sqrt(settings.width * settings.height) / pipeline.vae_scale_factor
            pipeline.default_sample_size = side * (1 + 1e-9)


def steps_done(pipeline: Any, call: int, steps: int) -> int | None:
    """Return how many of `steps` are done after denoiser call `call`, counted from 0; None if no step ends with it.

    With a scheduler of second order a step takes two denoiser calls.
    """
    calls = getattr(pipeline, "num_timesteps", None) or steps
    before, after = call * steps // calls, (call + 1) * steps // calls
    return after if after > before else None
