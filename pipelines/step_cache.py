"""Step caches: with one, a denoiser leaves out work at some steps and takes what it found at earlier ones. They are lossy.

Their fields are those of diffusers' configurations. https://huggingface.co/docs/diffusers/optimization/cache
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Threshold = Annotated[float, Meta(gt=0, le=10)]
Count = Annotated[int, Meta(ge=1, le=1000)]


class FirstBlock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="first_block", tag_field="kind"):
    """Leave out all blocks but the first, if the first one's output changed little from the step before."""

    #: The relative change below which the other blocks are left out.
    threshold: Threshold = 0.05


class TaylorSeer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="taylorseer", tag_field="kind"):
    """Compute attention only every `cache_interval` steps, and extrapolate its output in between."""

    cache_interval: Count = 5
    #: Compute every step before this one.
    disable_cache_before_step: Annotated[int, Meta(ge=0, le=1000)] = 3
    #: How many derivatives the extrapolation has.
    max_order: Annotated[int, Meta(ge=0, le=5)] = 1


class MagCache(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="magcache", tag_field="kind"):
    """Leave out all blocks at steps that were seen to change the model's output little."""

    #: The error that may add up over left-out steps before a step is computed.
    threshold: Threshold = 0.06
    #: The most steps left out in a row.
    max_skip_steps: Count = 3
    #: The part of the steps, at the beginning, that are always computed.
    retention_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.2
    #: How much the residual grows at each step, from a calibration; if this is empty, the ratios of FLUX.1 are used.
    mag_ratios: tuple[float, ...] = ()


StepCache = FirstBlock | TaylorSeer | MagCache

#: The caches that were found to act on each pipeline.
ACT_ON: dict[str, tuple[type[StepCache], ...]] = {
    "FluxPipeline": (FirstBlock, TaylorSeer, MagCache),
    "Flux2KleinPipeline": (TaylorSeer, MagCache),
    "QwenImagePipeline": (FirstBlock, TaylorSeer, MagCache),
}


def kind_of(cache: StepCache | type[StepCache]) -> str:
    """Return a cache's name in models.toml."""
    return str(cache.__struct_config__.tag)
