"""The interface of a batch of images, however it is run; `Slots` and `WholeBatch` are the two ways."""

from collections.abc import Callable
from typing import Protocol

import msgspec
import torch

from pipelines.protocol import Item


class Stepped(msgspec.Struct, frozen=True):
    """An image finished a denoising step. The first step is 1."""

    item: Item
    step: int
    #: A function that returns a guess of its last latents, with a batch dimension of 1; None if nothing is known of them.
    forecast: Callable[[], torch.Tensor | None]


class Denoised(msgspec.Struct, frozen=True):
    """An image is decoded and has left the batch."""

    item: Item
    #: RGB from 0 to 1 (3, height, width), float32 on the CPU. It may hold NaN.
    image: torch.Tensor
    #: Whether its last latents were finite numbers.
    finite: bool
    #: Its last latents, in the pipeline's own layout, with a batch dimension of 1; None after a second pass, or if the
    #: pipeline reported no step.
    latents: torch.Tensor | None
    #: Seconds by name: denoising_s, decoding_s.
    timings: dict[str, float]
    #: Whether the pipeline's safety checker made the image black.
    blacked_out: bool = False


class ImageFailed(msgspec.Struct, frozen=True):
    """An image failed by itself and has left the batch. The others go on."""

    item: Item
    error: Exception


Outcome = Stepped | Denoised | ImageFailed
#: A function that the running batch calls with every outcome as it comes. It must not change the batch.
Watch = Callable[[Outcome], None]


class Batch(Protocol):
    """Images of one model, with equal CallSettings, that share denoiser calls."""

    def __len__(self) -> int:
        """Return the number of images in the batch."""

    @property
    def items(self) -> list[Item]:
        """Return the images in the batch, in the order in which they entered."""

    @property
    def free(self) -> int:
        """Return how many images may enter now."""

    @property
    def seconds_per_step(self) -> float | None:
        """Return the seconds of a denoising step of a full batch; None until they were measured."""

    def enter(self, item: Item) -> None:
        """Add an image, if `free` allows one; it takes part from the next `tick` on."""

    def leave(self, image_id: str) -> bool:
        """Drop an image; return False if it is not in the batch."""

    def clear(self) -> list[Item]:
        """Drop every image and return them in the order in which they entered."""

    def tick(self) -> None:
        """Begin the images that entered, do the next denoising step, and decode the images that are done.

        An image takes one step at most. Raises what the denoiser raises, and torch's error if memory runs out or the device
        is lost. The caller must then clear the batch.
        """
