"""`models.toml`: the models a client may name, the price of an operation, the brands.

The file's text is checked as a whole before any of it is used. Every problem found is told at once, each with its table, key,
value and the way out. A card that only its own files or its pipeline contradict makes only its own model unusable.
"""

import tomllib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pipelines.aspect_ratios import Tier
from pipelines.lora import LoraWeight
from pipelines.model_card import ModelCard
from server.card_files import absolute, with_files
from server.card_table import read_card
from server.jobs import FailureMode, JobType
from server.lora_table import LoraTable, problem_of
from server.operator_error import OperatorError
from server.toml_tables import read_tables, shortened, told
from server.validation import check, unknown

Factor = Annotated[float, Meta(ge=0, le=1000)]
#: Characters of a brand's name at most; a spec takes no more of them.
MOST_IN_BRAND = 200


class Operation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price of one image of an operation, and the defaults of specs that leave a field out."""

    credits_cost: Annotated[int, Meta(ge=0, le=1_000_000)] = 5
    #: Factors of the price for some models and tiers; 1 for all others.
    model_factors: dict[str, Factor] = {}
    tier_factors: dict[Tier, Factor] = {}
    enabled: bool = True
    eval_enabled: bool = False
    on_technical_failure: FailureMode = FailureMode.FAIL
    #: Runs that each image of a job may take, under `retry` and after a kill of the server.
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
    #: The LoRAs that cannot be used, and why.
    unusable_loras: dict[str, str] = {}
    #: The enabled models that cannot be used, and why: what their files or their pipelines contradict on their cards.
    unusable: dict[str, list[str]] = {}

    @cached_property
    def enabled(self) -> dict[str, ModelCard]:
        return {name: card for name, card in self.models.items() if card.enabled}

    @property
    def default(self) -> ModelCard:
        return self.models[self.default_model]

    @property
    def problems(self) -> list[str]:
        """Return all that makes models, and then LoRAs, unusable, in the order of the file."""
        return [problem for problems in self.unusable.values() for problem in problems] + [
            f"[loras.{name}] {problem}" for name, problem in self.unusable_loras.items()
        ]

    def loras_of(self, model: str) -> dict[str, LoraTable]:
        """Return the LoRAs that fit a model."""
        return {name: lora for name, lora in self.loras.items() if model in lora.models}

    def keeping(self, before: "Models") -> "Models":
        """Return these models, but each unusable one as it was `before`, if it was usable then and has its LoRAs still."""
        kept = {
            name: card
            for name, card in before.enabled.items()
            if name not in before.unusable and card.sampling.loras.keys() <= self.loras_of(name).keys()
        }
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


class ModelsFileError(OperatorError):
    """models.toml cannot be used; `problems` holds every reason."""

    def __init__(self, path: Path, problems: list[str], verdict: str = "cannot be used") -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join([f"{path} {verdict}:", *(f"  - {problem}" for problem in problems)]))


def load_models(path: Path) -> Models:
    """Read and check a models file.

    Raises ModelsFileError if its text is bad, or if it leaves no model that could be used.
    """
    top, found = check(_toml(path), _Tables)
    problems = [told("the top level", problem) for problem in found]
    tables = top.get("models", {})
    read = {name: read_card(name, table, problems) for name, table in tables.items()}
    cards = {name: card for name, card in read.items() if card is not None}
    operations = _operations(top.get("operations", {}), tables, problems)
    brands = read_tables("brands", top.get("brands", {}), Brand, problems)
    problems += [
        f"[brands.{shortened(name)}]: a spec names a brand by 1–{MOST_IN_BRAND} characters without spaces around them"
        for name in brands
        if name != name.strip() or not 1 <= len(name) <= MOST_IN_BRAND
    ]
    loras = read_tables("loras", top.get("loras", {}), LoraTable, problems)
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
        name: msgspec.structs.replace(lora, file=str(absolute(path.parent, lora.file))) for name, lora in loras.items()
    }
    lora_problems = {name: problem_of(lora, models) for name, lora in loras.items()}
    return Models(
        default_model=top["default_model"],
        models=models,
        operations=operations,
        brands=brands,
        loras=loras,
        unusable_loras={name: problem for name, problem in lora_problems.items() if problem is not None},
        unusable=unusable,
    )


def _toml(path: Path) -> dict[str, Any]:
    """Return what a file says. Raises ModelsFileError."""
    try:
        # Editors on Windows begin a file with a byte order mark.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ModelsFileError(path, ["there is no such file; name another with BACKLOT_MODELS"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelsFileError(path, [f"it cannot be read: {error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ModelsFileError(path, [f"it is not TOML: {error}"]) from error


def _operations(
    tables: dict[str, dict[str, Any]], models: dict[str, Any], problems: list[str]
) -> dict[JobType, Operation]:
    """Return all operations, with the defaults for those without a table, and add what is wrong to `problems`."""
    by_name = {job_type.operation: job_type for job_type in JobType}
    problems += [
        f"[operations.{name}]: there is no such operation; there are {', '.join(by_name)}"
        for name in tables
        if name not in by_name
    ]
    known = {name: table for name, table in tables.items() if name in by_name}
    operations = read_tables("operations", known, Operation, problems)
    problems += [
        f"[operations.{name}] model_factors: {unknown('model', model, list(models))}"
        for name, operation in operations.items()
        for model in operation.model_factors
        if model not in models
    ]
    return {job_type: operations.get(job_type.operation, Operation()) for job_type in JobType}


def _lora_problems(loras: dict[str, LoraTable], cards: dict[str, ModelCard], brands: dict[str, Brand]) -> Iterator[str]:
    """Yield a problem for each mention of a model or a LoRA that is not there."""
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
