"""`models.toml`: the models a client may name, the price of an operation, the brands.

The file's text is checked as a whole before any of it is used. Every problem found is told at once, each with its table, key,
value and the way out. A card that only its own files or its pipeline contradict makes that one model unusable, and no other.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from msgspec import Meta

from pipelines.aspect_ratios import TIERS, Tier, side_of
from pipelines.lora import LoraWeight
from pipelines.model_card import Attention, FlatCard, ModelCard
from pipelines.upscale import LARGEST_FACTOR
from server.card_files import with_files
from server.jobs import FailureMode, JobType
from server.lora_table import LoraTable, file_problem
from server.validation import Problem, check, unknown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
T = TypeVar("T", bound=msgspec.Struct)


Factor = Annotated[float, Meta(ge=0, le=1000)]


class Operation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one image of an operation costs, and the defaults of specs that leave a field out."""

    credits_cost: Annotated[int, Meta(ge=0, le=1_000_000)] = 5
    #: What the price is multiplied by for some models and tiers; for all others it is as it is.
    model_factors: dict[str, Factor] = {}
    tier_factors: dict[Tier, Factor] = {}
    enabled: bool = True
    eval_enabled: bool = False
    on_technical_failure: FailureMode = FailureMode.FAIL
    #: Runs a job may take under `retry` and after a restart of the server.
    max_attempts: Annotated[int, Meta(ge=1, le=20)] = 3


class Brand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words and LoRAs for the images of a spec that names this brand."""

    prompt: str = ""
    negative_prompt: str = ""
    #: LoRAs, and how strongly each acts; those that fit the model of a spec are applied.
    loras: dict[str, LoraWeight] = {}


class Models(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A checked models.toml."""

    default_model: str
    models: dict[str, ModelCard]
    operations: dict[JobType, Operation]
    brands: dict[str, Brand]
    loras: dict[str, LoraTable] = {}
    #: Why each LoRA cannot be used that cannot.
    unusable_loras: dict[str, str] = {}
    #: Why each enabled model cannot be used that cannot: what its files or its pipeline contradict on its card.
    unusable: dict[str, list[str]] = {}

    @cached_property
    def enabled(self) -> dict[str, ModelCard]:
        return {name: card for name, card in self.models.items() if card.enabled}

    @property
    def default(self) -> ModelCard:
        return self.models[self.default_model]

    @property
    def problems(self) -> list[str]:
        """Everything that makes models unusable, in the order of the file."""
        return [problem for problems in self.unusable.values() for problem in problems] + [
            f"[loras.{name}] {problem}" for name, problem in self.unusable_loras.items()
        ]

    def loras_of(self, model: str) -> dict[str, LoraTable]:
        """Return the LoRAs that fit a model."""
        return {name: lora for name, lora in self.loras.items() if model in lora.models}

    def keeping(self, before: "Models") -> "Models":
        """Return these models, but each unusable one as it was `before`, if it was usable then."""
        kept = {name: card for name, card in before.enabled.items() if name not in before.unusable}
        return msgspec.structs.replace(
            self,
            models={
                name: kept.get(name, card) if name in self.unusable else card for name, card in self.models.items()
            },
            unusable={name: problems for name, problems in self.unusable.items() if name not in kept},
        )


class _Tables(msgspec.Struct, frozen=True, kw_only=True):
    """The top level, with its tables still raw."""

    default_model: str
    models: dict[str, dict[str, Any]]
    operations: dict[str, dict[str, Any]] = {}
    brands: dict[str, dict[str, Any]] = {}
    loras: dict[str, dict[str, Any]] = {}


class ModelsFileError(Exception):
    """models.toml cannot be used; `problems` holds every reason."""

    def __init__(self, path: Path, problems: list[str], verdict: str = "cannot be used") -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join([f"{path} {verdict}:", *(f"  - {problem}" for problem in problems)]))


def load_models(path: Path) -> Models:
    """Read and check a models file.

    Raises ModelsFileError if its text is bad, or if it leaves no model that could be used.
    """
    try:
        # Editors on Windows begin a file with a byte order mark.
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ModelsFileError(path, ["there is no such file; name another with BACKLOT_MODELS"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelsFileError(path, [f"it cannot be read: {error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ModelsFileError(path, [f"it is not TOML: {error}"]) from error

    top, found = check(raw, _Tables)
    problems = [_tell("the top level", problem) for problem in found]
    cards = {
        name: card
        for name, table in top.get("models", {}).items()
        if (card := _card(name, table, problems)) is not None
    }
    operations = {job_type: Operation() for job_type in JobType}
    by_name = {job_type.operation: job_type for job_type in JobType}
    for name, table in top.get("operations", {}).items():
        if name not in by_name:
            problems.append(f"[operations.{name}]: there is no such operation; there are {', '.join(by_name)}")
        elif (operation := _table(f"operations.{name}", table, Operation, problems)) is not None:
            operations[by_name[name]] = operation
            problems += [
                f"[operations.{name}] model_factors: {unknown('model', model, list(top.get('models', {})))}"
                for model in operation.model_factors
                if model not in top.get("models", {})
            ]
    brands = {
        name: brand
        for name, table in top.get("brands", {}).items()
        if (brand := _table(f"brands.{name}", table, Brand, problems)) is not None
    }
    loras = {
        name: lora
        for name, table in top.get("loras", {}).items()
        if (lora := _table(f"loras.{name}", table, LoraTable, problems)) is not None
    }
    if not problems:
        problems += _lora_problems(loras, cards, brands)
    default = top.get("default_model")
    on = [name for name, card in cards.items() if card.enabled]
    if default is not None and not problems and default not in on:
        problems.append(
            f"default_model = {default!r} is not an enabled model; "
            + (f"choose one of {', '.join(on)}" if on else "set enabled = true on one of them")
        )
    if problems:
        raise ModelsFileError(path, problems)
    models = {}
    unusable = {}
    for name, card in cards.items():
        models[name], found_wrong = with_files(card, path.parent)
        if found_wrong:
            unusable[name] = [f"[models.{name}] {problem}" for problem in found_wrong]
    if len(unusable) == len(on):
        raise ModelsFileError(path, [problem for found_wrong in unusable.values() for problem in found_wrong])
    loras = {
        name: msgspec.structs.replace(lora, file=str((path.parent / lora.file).resolve()))
        for name, lora in loras.items()
    }
    found_in_files = {name: file_problem(Path(lora.file)) for name, lora in loras.items()}
    return Models(
        default_model=top["default_model"],
        models=models,
        operations=operations,
        brands=brands,
        loras=loras,
        unusable_loras={name: problem for name, problem in found_in_files.items() if problem is not None},
        unusable=unusable,
    )


def _lora_problems(loras: dict[str, LoraTable], cards: dict[str, ModelCard], brands: dict[str, Brand]) -> Iterator[str]:
    """Yield what names a model or a LoRA that is not there."""
    for name, lora in loras.items():
        for model in lora.models:
            if model not in cards:
                yield f"[loras.{name}] models: there is no model {model!r}; there are {', '.join(cards)}"
    for card in cards.values():
        for name in card.sampling.loras:
            if name not in loras or card.name not in loras[name].models:
                yield f"[models.{card.name}] loras: there is no [loras.{name}] whose models name {card.name}"
    for brand, table in brands.items():
        for name in table.loras:
            if name not in loras:
                yield f"[brands.{brand}] loras: there is no [loras.{name}]; there are {', '.join(loras) or 'none'}"


def _table(name: str, raw: dict[str, Any], into: type[T], problems: list[str]) -> T | None:
    values, found = check(raw, into)
    problems.extend(_tell(f"[{name}]", problem) for problem in found)
    return None if found else into(**values)


def _card(name: str, raw: dict[str, Any], problems: list[str]) -> ModelCard | None:
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
    if "stamp" in raw:
        problems.append(f"[{table}] stamp: the server works it out; remove the key")
        return None
    values, found = check(raw, FlatCard)
    problems.extend(_tell(f"[{table}]", problem) for problem in found)
    if found:
        return None
    card = ModelCard.from_flat(**values, name=name)
    weights, limits = card.weights, card.limits
    before = len(problems)
    if weights.folder is not None and weights.hub is not None:
        problems.append(
            f"[{table}]: give either folder (a diffusers folder on this box) or hub (an id such as org/name)"
        )
    if weights.folder is None and weights.hub is None and weights.file is None:
        problems.append(
            f"[{table}]: give folder (a diffusers folder on this box), hub (an id such as org/name) or file (a checkpoint in"
            " one file)"
        )
    if weights.folder is not None and weights.revision is not None:
        problems.append(f"[{table}] revision = {weights.revision!r}: a folder has no revisions; remove the key")
    if limits.default_tier is not None and limits.default_tier not in card.tiers:
        problems.append(f"[{table}] default_tier = {limits.default_tier!r} is not among its tiers {list(card.tiers)}")
    problems += [f"[{table}] {problem}" for problem in _upscale_problems(card)]
    if odd := [size for size in limits.batch_sizes if size & (size - 1)]:
        problems.append(f"[{table}] batch_shapes: {odd} are not powers of two, at which alone a seed is exact")
    if any(size > limits.max_batch for size in limits.batch_sizes):
        problems.append(f"[{table}] batch_shapes = {list(limits.batch_sizes)} go above max_batch = {limits.max_batch}")
    if limits.idle_unload_s is not None and card.pinned:
        problems.append(
            f"[{table}] idle_unload_s = {limits.idle_unload_s:g}: pinned keeps the model in memory; choose one of the two"
        )
    prompt = card.wording.prompt
    try:
        prompt.format(scene="", mood="", colors="")
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        problems.append(
            f"[{table}] prompt = {prompt!r}: only {{scene}}, {{mood}} and {{colors}} can be filled in ({error})"
        )
    return card if len(problems) == before else None


def _upscale_problems(card: ModelCard) -> Iterator[str]:
    """Yield what is wrong with the tiers of the second pass."""
    upscale, own = card.sampling.upscale, card.upscaled_from
    for tier in upscale.tiers if upscale is not None else ():
        factor = side_of(tier) / side_of(own)
        if tier in card.limits.tiers:
            yield f"upscale.tiers: {tier} is among its tiers already, and made without a second pass; remove it from one"
        elif factor < 1:
            yield f"upscale.tiers: {tier} is below {own}, from which larger ones are made; remove it, or add it to tiers"
        elif factor > LARGEST_FACTOR:
            yield (
                f"upscale.tiers: {tier} is {factor:g} times {own}, the largest of its tiers; more than {LARGEST_FACTOR} times"
                " would be made up; remove it"
            )
    if upscale is not None and upscale.tile is not None and upscale.tile < 2 * card.limits.multiple_of:
        yield f"upscale.tile = {upscale.tile}: it takes at least two times multiple_of, {2 * card.limits.multiple_of}"


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
    "quantization": "int8 or float8",
    "layerwise_casting": "true or false",
    "offload": "model or group",
    "vae_tiling": "true or false",
    "attention": f"one of {', '.join(get_args(Attention))}",
    "channels_last": "true or false",
    "compile": "true or false",
    "cache": 'a table such as { kind = "taylorseer", cache_interval = 3 }; kind is first_block, taylorseer or magcache',
    "licence": "write the model's licence, so that users can see it",
    "steps": "a whole number of denoising steps, 1–1000",
    "guidance": "a number 0–100; 0 switches guidance off",
    "preview": "auto, off, or every how many steps, 1–1000",
    "credits_cost": "whole credits, 0–1000000",
    "model_factors": "a table of a model's name = a number 0–1000",
    "tier_factors": f"a table of a tier, {', '.join(TIERS)} in quotes, = a number 0–1000",
    "on_technical_failure": "fail, retry or deliver",
    "default_model": "the name of an enabled model",
    "vocabulary": "studio-tiny, or leave the key out",
    "palette": "prompt, steer or match",
    "upscale": 'a table such as { tiers = ["2K"], strength = 0.25 }',
    "multiple_of": "a whole number 1–256",
    "max_batch": "a whole number of slots, 1–64",
    "pinned": 'true, false, or a list of devices such as ["cuda:1"]',
    "idle_unload_s": "seconds without an image, above 0",
    "reproducible": "true or false",
    "slots": "true or false",
    "enabled": "true or false",
    "models": "a table [models.NAME] for each model",
}
