"""What the GPU process asks of a batch of images, however it is run; `Slots` and `WholeBatch` are the two ways."""

from collections.abc import Callable
from typing import Protocol

import msgspec
import torch

from pipelines.protocol import Item


class Stepped(msgspec.Struct, frozen=True):
    """An image finished a denoising step: 1 … its number of steps."""

    item: Item
    step: int
    #: Returns what its latents will be at the end, as far as that can be guessed; with a batch dimension of 1.
    forecast: Callable[[], torch.Tensor | None]


class Denoised(msgspec.Struct, frozen=True):
    """An image is decoded and has left the batch."""

    item: Item
    #: (3, height, width), float32 on the CPU, 0–1; may hold NaN.
    image: torch.Tensor
    #: Whether its last latents were finite numbers.
    finite: bool
    #: Its last latents, in the family's own layout, with a batch dimension of 1; None if the pipeline told of no step.
    latents: torch.Tensor | None
    #: Seconds by name: denoising_s, decoding_s.
    timings: dict[str, float]
    #: The pipeline's safety checker made the image black.
    blacked_out: bool = False


class ImageFailed(msgspec.Struct, frozen=True):
    """An image failed by itself and has left the batch; the others go on."""

    item: Item
    error: Exception


Outcome = Stepped | Denoised | ImageFailed
#: Is called with every outcome as it comes, while the batch runs; it must not change the batch.
Watch = Callable[[Outcome], None]


class Batch(Protocol):
    """Images of one model, size, number of steps and guidance that share denoiser calls."""

    def __len__(self) -> int:
        """Return the number of images in the batch."""

    @property
    def items(self) -> list[Item]:
        """The images in the batch, in the order in which they entered."""

    @property
    def free(self) -> int:
        """How many images may enter now."""

    @property
    def seconds_per_step(self) -> float | None:
        """Seconds of a denoising step of a full batch; None until it was measured."""

    def enter(self, item: Item) -> None:
        """Add an image, if `free` allows one; it takes part from the next `tick` on."""

    def leave(self, image_id: str) -> bool:
        """Drop an image; return False if it is not in the batch."""

    def clear(self) -> list[Item]:
        """Drop every image and return them in the order in which they entered."""

    def tick(self) -> None:
        """Begin the images that entered, do the next denoising step, and decode what is done.

        Raises what the denoiser raises, and torch's error if memory runs out or the device is lost; then clear it.
        """
