"""What a pipeline is called with for a batch of images, and which step each of its denoiser calls ends."""

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec
import torch

from pipelines.protocol import Item
from pipelines.worker.loader import LoadedModel


class CallSettings(msgspec.Struct, frozen=True):
    """What all images of a batch have in common, besides the model."""

    width: int
    height: int
    steps: int
    guidance: float


def call_arguments(model: LoadedModel, settings: CallSettings, items: Sequence[Item]) -> dict[str, Any]:
    """Return the arguments of the pipeline's call; families differ in the name of guidance and in negative prompts.

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
        model.card.sampling.guidance_argument: settings.guidance,
        **model.card.sampling.arguments,
    }
    if "negative_prompt" in taken and any(item.negative_prompt for item in items):
        arguments["negative_prompt"] = [item.negative_prompt for item in items]
    return arguments


def blacked_out(output: Any, images: int) -> list[bool]:
    """Return which images of a pipeline's output its safety checker made black; most pipelines have none."""
    found: Any = getattr(output, "nsfw_content_detected", None)
    return [bool(flag) for flag in found] if found else [False] * images


def steps_done(pipeline: Any, call: int, steps: int) -> int | None:
    """Return how many of `steps` are done after denoiser call `call`, counted from 0; None if no step ends with it.

    Schedulers of second order call the denoiser twice a step.
    """
    calls = getattr(pipeline, "num_timesteps", None) or steps
    before, after = call * steps // calls, (call + 1) * steps // calls
    return after if after > before else None
