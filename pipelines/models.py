"""`models.toml`: the models a client may name, the price of an operation, the brands.

The file is checked as a whole before any of it is used. Every problem found is told at once, each with its table, key,
value and the way out.
"""

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from pipelines.checking import Problem, check
from pipelines.sizes import TIERS, Tier

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
Dtype = Literal["float32", "float16", "bfloat16"]
FailureMode = Literal["fail", "retry", "deliver"]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
T = TypeVar("T", bound=msgspec.Struct)


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
    def shapes(self) -> tuple[int, ...]:
        """Batch shapes in ascending order, never empty.

        Powers of two only: a row of a matrix product gets the same bits at every place of such a shape, but not, for
        example, at every place of 5 or 6 rows, whose last ones go through another kernel.
        """
        powers = [2**power for power in range(7) if 2**power <= self.max_batch]
        allowed = sorted(set(self.batch_shapes)) or powers
        return (allowed[-1],) if self.reproducible else tuple(allowed)


class Operation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one request costs and how it behaves where the spec is silent."""

    credits_cost: Annotated[int, Meta(ge=0, le=1_000_000)] = 5
    enabled: bool = True
    eval_enabled: bool = False
    on_technical_failure: FailureMode = "fail"
    #: Runs a job may take under `retry` and after a restart of the server.
    max_attempts: Annotated[int, Meta(ge=1, le=20)] = 3


class Brand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words added to the prompt of a spec that names this brand."""

    prompt: str = ""
    negative_prompt: str = ""


class Operations(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    background_generator: Operation = Operation()


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """A checked models.toml."""

    default_model: str
    models: dict[str, ModelCard]
    operations: Operations
    brands: dict[str, Brand]

    @property
    def enabled(self) -> dict[str, ModelCard]:
        return {name: card for name, card in self.models.items() if card.enabled}

    @property
    def default(self) -> ModelCard:
        return self.models[self.default_model]


class _Tables(msgspec.Struct, frozen=True, kw_only=True):
    """The top level, with its tables still raw."""

    default_model: str
    models: dict[str, dict[str, Any]]
    operations: dict[str, dict[str, Any]] = {}
    brands: dict[str, dict[str, Any]] = {}


class ModelsFileError(Exception):
    """models.toml cannot be used; `problems` holds every reason, in the order of the file."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join([f"{path} cannot be used:", *(f"  - {problem}" for problem in problems)]))


def load_models(path: Path) -> Models:
    """Read and check a models file. Raises ModelsFileError; never returns a file half understood."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelsFileError(path, ["there is no such file; name another with BACKLOT_MODELS"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelsFileError(path, [f"it cannot be read: {error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ModelsFileError(path, [f"it is not TOML: {error}"]) from error

    top, found = check(raw, _Tables)
    problems = [_tell("the top level", problem) for problem in found]
    models = {
        name: card
        for name, table in top.get("models", {}).items()
        if (card := _card(name, table, path.parent, problems)) is not None
    }
    operations: dict[str, Operation] = {}
    for name, table in top.get("operations", {}).items():
        if name != "background-generator":
            problems.append(
                f"[operations.{name}]: there is no such operation; the one there is, is background-generator"
            )
            continue
        if (operation := _table(f"operations.{name}", table, Operation, problems)) is not None:
            operations["background_generator"] = operation
    brands = {
        name: brand
        for name, table in top.get("brands", {}).items()
        if (brand := _table(f"brands.{name}", table, Brand, problems)) is not None
    }
    default = top.get("default_model")
    on = [name for name, card in models.items() if card.enabled]
    if default is not None and not problems and default not in on:
        problems.append(
            f"default_model = {default!r} is not an enabled model; "
            + (f"choose one of {', '.join(on)}" if on else "set enabled = true on one of them")
        )
    if problems:
        raise ModelsFileError(path, problems)
    return Models(default_model=top["default_model"], models=models, operations=Operations(**operations), brands=brands)


def _table(name: str, raw: dict[str, Any], into: type[T], problems: list[str]) -> T | None:
    values, found = check(raw, into)
    problems.extend(_tell(f"[{name}]", problem) for problem in found)
    return None if found else into(**values)


def _card(name: str, raw: dict[str, Any], base: Path, problems: list[str]) -> ModelCard | None:
    table = f"models.{name}"
    if not _NAME.fullmatch(name):
        problems.append(
            f"[models.{_short(name)}]: a model's name has up to 100 letters, digits, '.', '_' and '-', the first of them a"
            " letter or a digit"
        )
        return None
    if "name" in raw:
        problems.append(f"[{table}] name: a model's name is its table's; remove the key")
        return None
    card = _table(table, raw, ModelCard, problems)
    if card is None:
        return None
    before = len(problems)
    if (card.folder is None) == (card.hub is None):
        problems.append(
            f"[{table}]: give either folder (a diffusers folder on this box) or hub (an id such as org/name)"
        )
    if card.folder is not None and card.revision is not None:
        problems.append(f"[{table}] revision = {card.revision!r}: a folder has no revisions; remove the key")
    if card.default_tier is not None and card.default_tier not in card.tiers:
        problems.append(f"[{table}] default_tier = {card.default_tier!r} is not among its tiers {list(card.tiers)}")
    if odd := [shape for shape in card.batch_shapes if shape & (shape - 1)]:
        problems.append(f"[{table}] batch_shapes: {odd} are not powers of two, at which alone a seed is exact")
    if any(shape > card.max_batch for shape in card.batch_shapes):
        problems.append(f"[{table}] batch_shapes = {list(card.batch_shapes)} go above max_batch = {card.max_batch}")
    try:
        card.prompt.format(scene="", mood="", colors="")
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        problems.append(
            f"[{table}] prompt = {card.prompt!r}: only {{scene}}, {{mood}} and {{colors}} can be filled in ({error})"
        )
    folder = None if card.folder is None else (base / card.folder).resolve()
    if folder is not None and card.enabled and not (folder / "model_index.json").is_file():
        problems.append(
            f"[{table}] folder = {card.folder!r}: no diffusers model at {folder} (it has no model_index.json); "
            "correct the path or set enabled = false"
        )
    if len(problems) > before:
        return None
    return msgspec.structs.replace(card, name=name, folder=None if folder is None else str(folder))


def _tell(table: str, problem: Problem) -> str:
    key = ".".join(str(part) for part in problem.loc)
    value = "" if problem.value is None else f" = {_short(problem.value)}"
    remedy = _REMEDIES.get(str(problem.loc[0]) if problem.loc else "", "")
    return f"{table} {key}{value}: {problem.message}" + (f" ({remedy})" if remedy else "")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


_REMEDIES = {
    "tiers": f"a list of {', '.join(TIERS)}",
    "default_tier": f"one of {', '.join(TIERS)}",
    "dtype": "float32, float16 or bfloat16",
    "licence": "write the model's licence, so that users can see it",
    "steps": "a whole number of denoising steps, 1–1000",
    "guidance": "a number 0–100; 0 switches guidance off",
    "credits_cost": "whole credits, 0–1000000",
    "on_technical_failure": "fail, retry or deliver",
    "default_model": "the name of an enabled model",
    "vocabulary": "studio-tiny, or leave the key out",
    "multiple_of": "a whole number 1–256",
    "max_batch": "a whole number of slots, 1–64",
    "pinned": "true or false",
    "reproducible": "true or false",
    "slots": "true or false",
    "enabled": "true or false",
    "models": "a table [models.NAME] for each model",
}


def settings_digest(card: ModelCard) -> str:
    """8 hex digits over what a card says that changes an image's bytes and is not told elsewhere in its recipe."""
    settings = (card.variant, card.scheduler, card.scheduler_options, card.arguments, card.guidance_argument)
    return hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()[:8]
