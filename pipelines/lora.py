"""LoRAs: small files of weights that change what a model draws; several act together, each with a weight of its own.

LoRA stands for low-rank adaptation: Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

#: How strongly a LoRA acts: 1 is as it was trained, and below 0 it pushes the other way.
LoraWeight = Annotated[float, Meta(ge=-2, le=2)]


class Lora(msgspec.Struct, frozen=True):
    """A LoRA as an order names it."""

    #: Its name in models.toml.
    name: str
    #: The absolute path of its safetensors file.
    file: str
    weight: float


class AppliedLora(msgspec.Struct, frozen=True):
    """A LoRA as a recipe tells it."""

    name: str
    weight: float
    #: 16 hex digits of the SHA-256 of its file.
    digest: str
