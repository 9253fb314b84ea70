"""What a pipeline is called with for a batch of images, and what comes of each image."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import torch

from pipelines.output.image_writer import Picture
from pipelines.protocol import Item
from pipelines.worker.loader import LoadedModel


class Size(msgspec.Struct, frozen=True):
    """What all images of a denoiser call have in common beside the model."""

    width: int
    height: int
    steps: int
    guidance: float


class Stepped(msgspec.Struct, frozen=True):
    """An image finished denoising step `step`, 1 … steps."""

    item: Item
    step: int


class Denoised(msgspec.Struct, frozen=True):
    item: Item
    #: (3, height, width), float32 on the CPU, 0–1; may hold NaN.
    image: torch.Tensor
    #: Whether the last latents were finite numbers.
    finite: bool
    timings: dict[str, float]


class Broke(msgspec.Struct, frozen=True):
    """One image's own failure; the others go on."""

    item: Item
    error: Exception


def picture(denoised: Denoised) -> Picture:
    """The image in 8 bits, as diffusers' own `numpy_to_pil` rounds it, with what makes it useless."""
    image = denoised.image
    finding = None if torch.isfinite(image).all() else "nan_image"
    pixels = (image.nan_to_num().clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).contiguous().numpy()
    return Picture(denoised.item, pixels, finding if denoised.finite else "nan_latents", denoised.timings)


Outcome = Stepped | Denoised | Broke
#: Told of every outcome as it comes.
Watch = Callable[[Outcome], None]


def steps_done(pipeline: Any, call: int, steps: int) -> int | None:
    """Of an image's `steps`, those done after denoiser call `call`, counted from 0; None where no step ends with it.

    Schedulers of second order call the denoiser twice a step.
    """
    calls = getattr(pipeline, "num_timesteps", None) or steps
    before, after = call * steps // calls, (call + 1) * steps // calls
    return after if after > before else None


def call_arguments(model: LoadedModel, size: Size, batch: Sequence[Item]) -> dict[str, Any]:
    """The arguments of the pipeline's call; families differ in the name of guidance and in negative prompts.

    Every image has a generator of its own, on the CPU whatever the device, so that a seed means the same everywhere.
    """
    taken = inspect.signature(model.pipeline.__call__).parameters
    arguments: dict[str, Any] = {
        "prompt": [item.prompt for item in batch],
        "width": size.width,
        "height": size.height,
        "num_inference_steps": size.steps,
        "generator": [torch.Generator("cpu").manual_seed(item.seed) for item in batch],
        "output_type": "pt",
        model.card.guidance_argument: size.guidance,
        **model.card.arguments,
    }
    if "negative_prompt" in taken and any(item.negative_prompt for item in batch):
        arguments["negative_prompt"] = [item.negative_prompt for item in batch]
    return arguments
