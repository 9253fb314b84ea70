"""The denoisers that slots can run: one row each. Pipelines with any other denoiser run as whole batches.

A row may be added once two things are read in the denoiser's code and tested: what belongs to an image is along the first
dimension of everything it takes and gives, and it does the same operations in every call of one signature.
"""

from typing import Any

import msgspec

from pipelines.diffusers_classes import DENOISERS

#: Attributes of a pipeline that may hold a text encoder.
TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


class Family(msgspec.Struct, frozen=True):
    """How one class of denoiser is called."""

    #: The attribute of the pipeline that holds it.
    attribute: str
    #: The name of its first argument, if the pipeline passes that by name.
    sample: str = "hidden_states"
    #: Arguments without a batch dimension; they depend only on width and height.
    shared: tuple[str, ...] = ()
    #: The denoiser pads each prompt by itself to a multiple of this many tokens. Prompts that are equally long then can share
    #: a call; others could not without a mask, which would change bits.
    prompt_multiple: int = 1
    #: It draws no random numbers, branches on none in a tensor and changes nothing it is given, so its calls can be traced.
    traceable: bool = True


FAMILIES = {
    "UNet2DConditionModel": Family("unet", sample="sample"),
    "SD3Transformer2DModel": Family("transformer"),
    "FluxTransformer2DModel": Family("transformer", shared=("img_ids", "txt_ids")),
    "Flux2Transformer2DModel": Family("transformer", shared=("img_ids", "txt_ids")),
    "ZImageTransformer2DModel": Family("transformer", prompt_multiple=32),
    "QwenImageTransformer2DModel": Family("transformer"),
    "QwenImage21Transformer2DModel": Family("transformer", traceable=False),
    "ChromaTransformer2DModel": Family("transformer", shared=("img_ids", "txt_ids")),
    "Krea2Transformer2DModel": Family("transformer", shared=("position_ids",)),
    "Kandinsky5Transformer3DModel": Family(
        "transformer", shared=("visual_rope_pos", "text_rope_pos", "scale_factor"), traceable=False
    ),
    "SanaTransformer2DModel": Family("transformer"),
    "PixArtTransformer2DModel": Family("transformer"),
}


def find_denoiser(pipeline: Any) -> Any:
    """Return the part of a pipeline that denoises; None if it has none of a known name."""
    return next((part for name in DENOISERS if (part := getattr(pipeline, name, None)) is not None), None)


def family_of(pipeline: Any) -> Family | None:
    """Return the family of the pipeline's denoiser; None if slots cannot run it."""
    denoiser = find_denoiser(pipeline)
    family = FAMILIES.get(type(denoiser).__name__)
    # A pipeline may hold a known class under another name than its family's pipelines do.
    return family if family is not None and getattr(pipeline, family.attribute, None) is denoiser else None
