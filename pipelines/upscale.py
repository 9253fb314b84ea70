"""Images of tiers above their model's own, made by a second pass over the enlarged picture.

The first pass makes the picture at one of the model's own sizes. It is enlarged, and noise is added to it as a card's
`strength` says. Then the same pipeline takes the noise away again, and adds the details that belong to the larger size
(Meng et al. 2022, SDEdit, arXiv:2108.01073).
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from pipelines.aspect_ratios import Tier

Strength = Annotated[float, Meta(gt=0, lt=1)]
Steps = Annotated[int, Meta(ge=1, le=1000)]
#: The side of a tile in pixels.
Tile = Annotated[int, Meta(ge=64, le=8192)]
#: How many times as wide as the first pass's picture an image may be. A wider one would show little of the first pass.
LARGEST_FACTOR = 4

#: Pipelines for which denoising/latent_grid.py can turn a picture into latents: all that docs/reference/models.md lists.
UPSCALING_PIPELINES = frozenset(
    {
        "AuraFlowPipeline",
        "ChromaPipeline",
        "Flux2KleinPipeline",
        "Flux2Pipeline",
        "FluxPipeline",
        "HiDreamImagePipeline",
        "Kandinsky5T2IPipeline",
        "Krea2Pipeline",
        "LongCatImagePipeline",
        "Lumina2Pipeline",
        "PixArtSigmaPipeline",
        "QwenImage21Pipeline",
        "QwenImagePipeline",
        "SanaPipeline",
        "StableDiffusion3Pipeline",
        "StableDiffusionPipeline",
        "StableDiffusionXLPipeline",
        "ZImagePipeline",
    }
)
#: Schedulers with no schedule but their timesteps, and sigmas if they have any, so that a call can begin in its middle. The
#: first step of PNDM's takes two calls, which denoising/late_start.py sees to.
UPSCALING_SCHEDULERS = frozenset(
    {
        "DDIMScheduler",
        "DPMSolverMultistepScheduler",
        "EulerAncestralDiscreteScheduler",
        "EulerDiscreteScheduler",
        "FlowMatchEulerDiscreteScheduler",
        "LCMScheduler",
        "PNDMScheduler",
        "UniPCMultistepScheduler",
    }
)


class Upscale(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The settings of a second pass, as a card gives them."""

    #: Tiers above the model's own, two or four times its largest.
    tiers: Annotated[tuple[Tier, ...], Meta(min_length=1)]
    #: How much is made anew: the noise that the second pass begins with, as a share of a whole run's.
    strength: Strength = 0.25
    #: Steps of the second pass; None takes the card's steps times `strength`, at least one.
    steps: Steps | None = None
    #: Work on overlapping tiles of at most this width, which takes less memory; None works on the whole picture. The prompt
    #: acts on each tile, so the things it names may appear in several.
    tile: Tile | None = None


class SecondPass(msgspec.Struct, frozen=True, omit_defaults=True):
    """The second pass of one image, with every default filled in."""

    #: How many times as wide and as high the image is as the first pass's picture.
    factor: Annotated[int, Meta(ge=2, le=LARGEST_FACTOR)]
    strength: Strength
    steps: Steps
    tile: Tile | None = None

    @property
    def schedule(self) -> int:
        """Return the steps of the whole run of which the second pass is the end."""
        return max(self.steps, round(self.steps / self.strength))
