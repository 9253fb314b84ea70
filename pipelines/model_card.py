"""The model card: where one model is, how it is run, and what may be asked of it."""

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pipelines.aspect_ratios import Tier

Dtype = Literal["float32", "float16", "bfloat16"]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class ModelCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model: where it is, how it is run, and what may be asked of it."""

    name: str = ""
    #: A local diffusers folder, relative to models.toml; or else a hub id.
    folder: str | None = None
    hub: str | None = None
    #: A branch, tag or commit of the hub id. A commit keeps seeds exact; `main` moves.
    revision: str | None = None
    #: Weight variant on the hub, such as "fp16".
    variant: str | None = None
    enabled: bool = True
    licence: Annotated[str, Meta(min_length=1)]
    dtype: Dtype = "float32"
    tiers: Annotated[tuple[Tier, ...], Meta(min_length=1)]
    default_tier: Tier | None = None
    #: Width and height are multiples of this: the VAE's factor times the denoiser's patch or down-sampling.
    multiple_of: Annotated[int, Meta(ge=1, le=256)] = 16
    steps: Annotated[int, Meta(ge=1, le=1000)]
    guidance: Annotated[float, Meta(ge=0, le=100)]
    #: The pipeline's name for guidance; Qwen-Image calls it "true_cfg_scale".
    guidance_argument: str = "guidance_scale"
    #: A diffusers scheduler class to use instead of the folder's own, and options over its configuration.
    scheduler: str | None = None
    scheduler_options: dict[str, Any] = {}
    #: Further arguments of the pipeline call, such as max_sequence_length.
    arguments: dict[str, Any] = {}
    #: Fields {scene}, {mood} and {colors}.
    prompt: str = "{scene}, {mood}, {colors}"
    negative_prompt: str = ""
    #: The closed vocabulary of a small model; free text is mapped to its nearest words.
    vocabulary: Literal["studio-tiny"] | None = None
    #: The most slots; how many are opened is measured.
    max_batch: Annotated[int, Meta(ge=1, le=64)] = 1
    #: The batch shapes the model may run at, powers of two. Empty means all up to max_batch.
    batch_shapes: tuple[Positive, ...] = ()
    #: Run at one shape only, so that a seed gives the same bytes whatever else is waiting.
    reproducible: bool = False
    #: Let images enter and leave at any denoising step; off, a batch runs as one pipeline call from its start to its end.
    slots: bool = True
    #: Never make room in memory for another model.
    pinned: bool = False
    step_timeout_s: Seconds = 120.0
    load_timeout_s: Seconds = 1800.0

    @property
    def weights(self) -> tuple[Any, ...]:
        """What decides the pipeline in memory; cards that differ in nothing of it share that pipeline."""
        return (
            self.folder,
            self.hub,
            self.revision,
            self.variant,
            self.dtype,
            self.scheduler,
            self.scheduler_options,
        )

    @property
    def tier(self) -> Tier:
        """The tier where a spec names none."""
        return self.default_tier or self.tiers[0]

    @property
    def follows_negative_prompts(self) -> bool:
        """Whether a negative prompt changes the image: only classifier-free guidance reads one."""
        return self.vocabulary is None and self.guidance > 1

    @property
    def shapes(self) -> tuple[int, ...]:
        """Batch shapes in ascending order, never empty.

        Powers of two only: a row of a matrix product gets the same bits at every place of such a shape, but not, for
        example, at every place of 5 or 6 rows, whose last ones go through another kernel.
        """
        powers = [2**power for power in range(7) if 2**power <= self.max_batch]
        allowed = sorted(set(self.batch_shapes)) or powers
        return (allowed[-1],) if self.reproducible else tuple(allowed)


def settings_digest(card: ModelCard) -> str:
    """8 hex digits over what a card says that changes an image's bytes and is not told elsewhere in its recipe."""
    settings = (card.variant, card.scheduler, card.scheduler_options, card.arguments, card.guidance_argument)
    return hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()[:8]
