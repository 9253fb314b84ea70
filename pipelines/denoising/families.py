"""The denoisers that slots can run: one row each, with the pipelines that were tried. All others run as whole batches.

Before you add a row, read two things in the denoiser's code and test them. Images must be along the first dimension of
everything it takes and returns, and it must do the same operations in every call of one signature. Before you add a
pipeline to a row, read its code too: it may change its denoiser while it runs, or give its text encoder's outputs another
layout.
"""

from typing import Any

import msgspec

from pipelines.diffusers_classes import DENOISERS
from pipelines.model_card import ModelCard

#: Attributes of a pipeline that may hold a text encoder.
TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


class Family(msgspec.Struct, frozen=True):
    """A class of denoiser, and how it is called."""

    #: The classes of pipelines that were tried.
    pipelines: tuple[str, ...]
    #: The attribute of the pipeline that holds the denoiser.
    attribute: str = "transformer"
    #: The name of the denoiser's first argument, for pipelines that pass it by name.
    sample: str = "hidden_states"
    #: Arguments without a batch dimension, which depend only on width and height.
    shared: tuple[str, ...] = ()
    #: The denoiser pads each prompt by itself to a multiple of this many tokens. Prompts of equal length after that can share
    #: a call; others could not without a mask, which would change bits.
    prompt_multiple: int = 1
    #: Whether its calls can be traced: it draws no random numbers, no branch depends on numbers in a tensor, and it does not
    #: change its arguments.
    traceable: bool = True
    #: The pipelines guide in one call, of whose rows the first half is about the negative prompt. Others ask twice, ask about
    #: the prompt first, or give guidance as an input.
    guides_in_one_call: bool = False


FAMILIES = {
    "UNet2DConditionModel": Family(
        ("StableDiffusionPipeline", "StableDiffusionXLPipeline"), "unet", sample="sample", guides_in_one_call=True
    ),
    "SD3Transformer2DModel": Family(("StableDiffusion3Pipeline",), guides_in_one_call=True),
    "FluxTransformer2DModel": Family(("FluxPipeline",), shared=("img_ids", "txt_ids")),
    "Flux2Transformer2DModel": Family(("Flux2Pipeline", "Flux2KleinPipeline"), shared=("img_ids", "txt_ids")),
    "ZImageTransformer2DModel": Family(("ZImagePipeline",), prompt_multiple=32),
    "QwenImageTransformer2DModel": Family(("QwenImagePipeline",)),
    "QwenImage21Transformer2DModel": Family(("QwenImage21Pipeline",), traceable=False),
    "ChromaTransformer2DModel": Family(("ChromaPipeline",), shared=("img_ids", "txt_ids")),
    "Krea2Transformer2DModel": Family(("Krea2Pipeline",), shared=("position_ids",)),
    "Kandinsky5Transformer3DModel": Family(
        ("Kandinsky5T2IPipeline",), shared=("visual_rope_pos", "text_rope_pos", "scale_factor"), traceable=False
    ),
    "SanaTransformer2DModel": Family(("SanaPipeline",), guides_in_one_call=True),
    "PixArtTransformer2DModel": Family(("PixArtSigmaPipeline",), guides_in_one_call=True),
}

#: Pipelines in whose whole batches neighbours would visibly change an image. The first two pad prompts to the length of the
#: longest, and the padding acts on the picture. GLM-Image draws the layouts of all images from the first one's seed.
SHOW_NEIGHBOURS = frozenset({"Kandinsky5T2IPipeline", "QwenImage21Pipeline", "GlmImagePipeline"})


def guides_in_one_call(pipeline: str) -> bool:
    """Return whether the pipeline of this name asks its denoiser about both prompts at once, the negative one first."""
    return any(pipeline in family.pipelines for family in FAMILIES.values() if family.guides_in_one_call)


def runs_in_slots(card: ModelCard, pipeline: str | None) -> bool:
    """Return whether images of a card with this pipeline run in slots; if not, they run as whole batches."""
    return card.takes_slots and any(pipeline in family.pipelines for family in FAMILIES.values())


def keeps_negatives_apart(card: ModelCard, negative_prompt: str) -> bool:
    """Return whether an image with this negative prompt may share batches only with images that have one too.

    In a whole batch a pipeline would give an empty negative prompt to its neighbours, which is not the same as none.
    """
    return bool(negative_prompt) and not runs_in_slots(card, card.weights.pipeline)


def find_denoiser(pipeline: Any) -> Any:
    """Return a pipeline's denoiser; None if no component has a known name of denoisers."""
    return next((part for name in DENOISERS if (part := getattr(pipeline, name, None)) is not None), None)


def family_of(pipeline: Any) -> Family | None:
    """Return the family of the pipeline's denoiser; None if slots cannot run it, or nobody has tried this pipeline."""
    family = FAMILIES.get(type(find_denoiser(pipeline)).__name__)
    return family if family is not None and type(pipeline).__name__ in family.pipelines else None
