"""The model card: where one model is, how it is run, and what may be asked of it.

Its fields are in groups, and a group decides what a change of its fields means: other weights in memory, other bytes of an
image, other costs of a step. A new field has to be put into the right group; one of Sampling that changes costs is named in
_IN_COST too.

    a change in       loads the model again    is told in recipes    makes costs be measured again
    Weights           yes                      yes                   yes
    Residence         yes                      no                    yes
    Sampling          no                       yes                   if in _IN_COST, or if guidance begins or ends
    Execution         no                       no                    yes
    Limits, Wording   no                       no                    no

models.toml writes the fields of all groups in one flat table.
"""

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pipelines.aspect_ratios import Tier, side_of, size_of
from pipelines.colors import PaletteMode
from pipelines.lora import LoraWeight
from pipelines.step_cache import StepCache
from pipelines.upscale import SecondPass, Upscale

Dtype = Literal["float32", "float16", "bfloat16"]
#: Kernels of attention, by diffusers' names, without those that would download code.
Attention = Literal[
    "native",
    "_native_cudnn",
    "_native_efficient",
    "_native_flash",
    "_native_math",
    "flex",
    "flash",
    "_flash_3",
    "sage",
    "xformers",
]
Quantization = Literal["int8", "float8"]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
#: How much of noisy latents is noise: 1 is noise alone, 0.5 as much noise as picture, 0 the picture. For flow models it is
#: the sigma, for others sigma / (1 + sigma).
Noise = Annotated[float, Meta(ge=0, le=1)]
Interval = tuple[Noise, Noise]


class Weights(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields that decide the pipeline and the numbers in it."""

    #: The absolute path of a diffusers folder, or else a hub id.
    folder: str | None = None
    hub: str | None = None
    #: The absolute path of a checkpoint: a whole model, or a denoiser alone. What it lacks comes from the folder or the hub.
    file: str | None = None
    #: Also read pickled weights. A pickle may run code; torch reads it in a way that should prevent that.
    pickle: bool = False
    #: For a folder, what weight_files.stamp_of returns, so it changes if a file is written. For a hub id, the commit of the
    #: files on this box; None if they are not here. The server sets it when it reads models.toml, which has no key for it.
    stamp: str | None = None
    #: The class of diffusers that runs the model. A folder names it, and the server sets it. The card of a hub id may name
    #: it, since the files may not be here yet.
    pipeline: str | None = None
    #: The scheduler class that the files name, if they are here. The server sets it; models.toml has no key for it.
    own_scheduler: str | None = None
    #: Whether the files say that the denoiser takes guidance as an input. The server sets it; models.toml has no key for it.
    takes_guidance: bool = False
    #: A branch, tag or commit of the hub id. A commit keeps seeds exact; `main` moves.
    revision: str | None = None
    #: Weight variant on the hub, such as "fp16".
    variant: str | None = None
    dtype: Dtype = "float32"
    #: A diffusers scheduler class to use instead of the folder's own, and options that override its configuration.
    scheduler: str | None = None
    scheduler_options: dict[str, Any] = {}
    #: Keep the weights of the denoiser's linear layers in 8 bits, by torchao.
    quantization: Quantization | None = None
    #: Keep the denoiser's weights as float8, and turn those of each layer into `dtype` while it computes.
    layerwise_casting: bool = False
    #: Decode images that are larger than the VAE's tile in overlapping tiles.
    vae_tiling: bool = False
    #: Which kernels compute the denoiser's attention; None lets torch choose.
    attention: Attention | None = None
    #: Lay out the weights of a UNet with the channels last, which suits convolutions.
    channels_last: bool = False
    #: Compile the denoiser's repeated blocks, once for each size, batch size, length of prompt and LoRA at each strength.
    #: If guidance has an interval, they are compiled once with guidance and once without.
    compile: bool = False
    #: Leave out work at some steps. Images then run as whole batches.
    cache: StepCache | None = None

    @property
    def source(self) -> str:
        """Return where the weights come from, for people: a file if there is one, a folder, or a hub id with its revision."""
        return self.file or self.folder or f"{self.hub}@{self.revision or 'main'}"


class Residence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields that say where the weights are while they do nothing.

    They change bits only through an image's neighbours in whole batches.
    """

    #: Keep the weights in host memory, and bring to the device what computes: a whole component, or one layer after another.
    offload: Literal["model", "group"] | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields that say how the pipeline is called, and how its images are finished."""

    steps: Annotated[int, Meta(ge=1, le=1000)]
    guidance: Annotated[float, Meta(ge=0, le=100)]
    #: Guide only while the noise is within these bounds.
    guidance_interval: Interval | None = None
    #: The pipeline's name for guidance; Qwen-Image calls it "true_cfg_scale".
    guidance_argument: str = "guidance_scale"
    #: Further arguments of the pipeline's call, such as max_sequence_length.
    arguments: dict[str, Any] = {}
    #: LoRAs of models.toml that every image gets, and how strongly each acts.
    loras: dict[str, LoraWeight] = {}
    #: How requested colours reach an image if its spec does not say.
    palette: PaletteMode = PaletteMode.PROMPT
    #: Tiers above those that the model makes itself, and how the second pass makes them.
    upscale: Upscale | None = None


class Execution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields that say how the device runs the pipeline.

    They change bits only through an image's neighbours in whole batches.
    """

    #: Let images enter and leave at any denoising step; if false, a batch is one pipeline call from its start to its end.
    slots: bool = True
    #: The steps from one preview to the next; `auto` shows previews as often as they cost next to nothing.
    preview: Literal["auto", "off"] | Annotated[int, Meta(ge=1, le=1000)] = "auto"


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The bounds of what may be asked of the model, how many images of it share a batch, and how long it may take."""

    #: The tiers that the model makes itself.
    tiers: Annotated[tuple[Tier, ...], Meta(min_length=1)]
    default_tier: Tier | None = None
    #: Width and height are multiples of this: the VAE's factor times the denoiser's patch or down-sampling.
    multiple_of: Annotated[int, Meta(ge=1, le=256)] = 16
    #: The most slots. How many are opened depends on measured costs.
    max_batch: Annotated[int, Meta(ge=1, le=64)] = 1
    #: The batch sizes that may be used, powers of two. Empty means all powers of two up to max_batch.
    batch_sizes: tuple[Positive, ...] = msgspec.field(default=(), name="batch_shapes")
    #: Use one batch size only, so that a seed gives the same bytes whatever else is waiting.
    reproducible: bool = False
    step_timeout_s: Seconds = 120.0
    load_timeout_s: Seconds = 1800.0
    #: Drop the model from memory once no image has needed it for this long; None keeps it until another model needs the room.
    idle_unload_s: Seconds | None = None

    @property
    def tier(self) -> Tier:
        """Return the tier of a spec that names none."""
        return self.default_tier or self.tiers[0]

    @property
    def allowed_batch_sizes(self) -> tuple[int, ...]:
        """Return the batch sizes that may be used, ascending, at least one; exactly one if the model is reproducible.

        They are powers of two. A row of a matrix product gets the same bits at every place of such a batch, but not at every
        place of 5 or 6 rows, for example: their last ones go through another kernel.
        """
        powers = [2**power for power in range(7) if 2**power <= self.max_batch]
        allowed = sorted(set(self.batch_sizes)) or powers
        return (allowed[-1],) if self.reproducible else tuple(allowed)


class Wording(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields that say how a spec becomes a prompt."""

    #: A template with the fields {scene}, {mood} and {colors}.
    prompt: str = "{scene}, {mood}, {colors}"
    negative_prompt: str = ""
    #: The closed vocabulary of a small model; free text is taken for its nearest words.
    vocabulary: Literal["studio-tiny"] | None = None


class Size(msgspec.Struct, frozen=True):
    """The size of an image, and the second pass that brings it to that size."""

    #: In pixels, like the height.
    width: int
    height: int
    #: None if the model makes images of this size itself.
    second: SecondPass | None


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One model of models.toml."""

    name: str = ""
    licence: Annotated[str, Meta(min_length=1)]
    enabled: bool = True
    #: True: no device that has loaded it ever evicts it. Names of devices: these never evict it, and load it when they start.
    pinned: bool | tuple[Annotated[str, Meta(min_length=1)], ...] = False
    weights: Weights
    residence: Residence
    sampling: Sampling
    execution: Execution
    limits: Limits
    wording: Wording

    @classmethod
    def from_flat(cls, **values: Any) -> "ModelCard":
        """Return the card of a flat table. Raises TypeError if a required field is missing or a field is unknown."""
        groups = {
            group.name: group.type(
                **{name: values.pop(name) for name in group.type.__struct_fields__ if name in values}
            )
            for group in _GROUPS
        }
        return cls(**groups, **values)

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Return the tiers that a spec may name."""
        upscale = self.sampling.upscale
        return self.limits.tiers + (upscale.tiers if upscale is not None else ())

    @property
    def upscaled_from(self) -> Tier:
        """Return the tier of the first pass of upscaled images: the largest that the model makes itself."""
        return max(self.limits.tiers, key=side_of)

    def size(self, tier: Tier, ratio: str) -> Size:
        """Return the size of an image of one of the card's tiers, at a ratio `W:H`."""
        upscale, multiple = self.sampling.upscale, self.limits.multiple_of
        if upscale is None or tier in self.limits.tiers:
            return Size(*size_of(tier, ratio, multiple), None)
        # Tiers differ by powers of two.
        factor = round(side_of(tier) / side_of(self.upscaled_from))
        steps = upscale.steps or max(1, round(self.sampling.steps * upscale.strength))
        second = SecondPass(factor, upscale.strength, steps, upscale.tile)
        return Size(*size_of(tier, ratio, multiple * factor), second)

    def is_pinned_on(self, device: str) -> bool:
        """Return whether the device of this name never evicts the model."""
        return self.pinned if isinstance(self.pinned, bool) else device in self.pinned

    @property
    def in_memory(self) -> tuple[Weights, Residence]:
        """Return the fields that decide the pipeline in memory; if an edited card keeps them, the loaded pipeline stays."""
        return self.weights, self.residence

    @property
    def takes_slots(self) -> bool:
        """Return whether the card lets images enter and leave at any step; the pipeline must be able to, besides."""
        # Components that take turns on the device do so in the order of one call, and a cache keeps the steps of one call.
        return self.execution.slots and self.residence.offload != "model" and self.weights.cache is None

    @property
    def is_on_this_box(self) -> bool:
        """Return whether the model's files were on this box when the server read models.toml."""
        return self.weights.hub is None or self.weights.stamp is not None


_GROUPS = [
    field
    for field in msgspec.structs.fields(ModelCard)
    if field.type in (Weights, Residence, Sampling, Execution, Limits, Wording)
]

#: Fields that are no keys of a card's table: the name, which heads the table, and those that only the server sets.
_NO_KEYS = frozenset({"name", "stamp", "own_scheduler", "takes_guidance"})
#: A card as models.toml writes it, against which a table is checked. Its defaults are never read; each group has its own.
FlatCard = msgspec.defstruct(
    "FlatCard",
    [
        (
            field.name,
            field.type,
            msgspec.field(default=msgspec.NODEFAULT if field.required else None, name=field.encode_name),
        )
        for struct in (ModelCard, *(group.type for group in _GROUPS))
        for field in msgspec.structs.fields(struct)
        if field not in _GROUPS and field.name not in _NO_KEYS
    ],
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
)

#: Fields of Weights that a recipe leaves to the revision, which follows the bytes of the files themselves.
IN_REVISION = frozenset(
    {"folder", "hub", "file", "pickle", "stamp", "pipeline", "own_scheduler", "takes_guidance", "revision"}
)
#: Fields of Weights and Sampling that a recipe tells in fields of its own.
IN_RECIPE = IN_REVISION | {"dtype", "steps", "guidance", "palette", "loras", "upscale"}
#: Keys of a card's table that `settings_digest` covers.
DIGESTED = [
    field.encode_name
    for struct in (Weights, Sampling)
    for field in msgspec.structs.fields(struct)
    if field.name not in IN_RECIPE
]
#: Fields of Sampling that change what a step costs: its calls and their tokens, how many steps are guided, and their sizes.
_IN_COST = ("arguments", "guidance_argument", "guidance_interval", "upscale")
#: Fields that were in the digests of Backlot's first version; they are always digested, so that old recipes stay true.
_ALWAYS_TOLD = frozenset({"variant", "scheduler", "scheduler_options", "arguments", "guidance_argument"})


def settings_digest(card: ModelCard) -> str:
    """Return 8 hex digits over those fields that change an image's bytes and are nowhere else in its recipe.

    A field that a later version adds changes only the digests of cards that set it.
    """
    always = (
        card.weights.variant,
        card.weights.scheduler,
        card.weights.scheduler_options,
        card.sampling.arguments,
        card.sampling.guidance_argument,
    )
    added = _set_fields(card.weights, card.sampling, without=IN_RECIPE | _ALWAYS_TOLD)
    return _digest([*always, added] if added else always)


def cost_digest(card: ModelCard) -> str:
    """Return 8 hex digits over the fields that a step's cost depends on, besides the revision."""
    costs = _set_fields(card.weights, card.residence, card.execution, without=IN_REVISION)
    sampling = _set_fields(card.sampling, without=frozenset())
    told = {name: sampling[name] for name in _IN_COST if name in sampling}
    if card.sampling.guidance <= 1:
        # Without guidance, which ends at 1 or at 0, a pipeline makes half the calls. Above 1 all guidance costs the same.
        told["guidance"] = card.sampling.guidance
    return _digest(costs | told)


def _set_fields(*groups: msgspec.Struct, without: frozenset[str]) -> dict[str, Any]:
    """Return the fields that differ from their defaults."""
    return {
        name: value for group in groups for name, value in msgspec.to_builtins(group).items() if name not in without
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:8]
