"""`models.toml`: the models a client may name, the price of an operation, the brands.

The file is checked as a whole before any of it is used. Every problem found is told at once, each with its table, key,
value and the way out.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from pipelines.aspect_ratios import TIERS
from pipelines.card_check import problems_of
from pipelines.model_card import FlatCard, ModelCard
from pipelines.weight_files import stamp_of
from server.jobs import FailureMode, JobType
from server.validation import Problem, check

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
T = TypeVar("T", bound=msgspec.Struct)


class Operation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one image of an operation costs, and the defaults of specs that leave a field out."""

    credits_cost: Annotated[int, Meta(ge=0, le=1_000_000)] = 5
    enabled: bool = True
    eval_enabled: bool = False
    on_technical_failure: FailureMode = FailureMode.FAIL
    #: Runs a job may take under `retry` and after a restart of the server.
    max_attempts: Annotated[int, Meta(ge=1, le=20)] = 3


class Brand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words added to the prompt of a spec that names this brand."""

    prompt: str = ""
    negative_prompt: str = ""


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """A checked models.toml."""

    default_model: str
    models: dict[str, ModelCard]
    operations: dict[JobType, Operation]
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
    models = {
        name: card
        for name, table in top.get("models", {}).items()
        if (card := _card(name, table, path.parent, problems)) is not None
    }
    operations = {job_type: Operation() for job_type in JobType}
    by_name = {job_type.operation: job_type for job_type in JobType}
    for name, table in top.get("operations", {}).items():
        if name not in by_name:
            problems.append(f"[operations.{name}]: there is no such operation; there are {', '.join(by_name)}")
        elif (operation := _table(f"operations.{name}", table, Operation, problems)) is not None:
            operations[by_name[name]] = operation
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
    return Models(default_model=top["default_model"], models=models, operations=operations, brands=brands)


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
    if (weights.folder is None) == (weights.hub is None):
        problems.append(
            f"[{table}]: give either folder (a diffusers folder on this box) or hub (an id such as org/name)"
        )
    if weights.folder is not None and weights.revision is not None:
        problems.append(f"[{table}] revision = {weights.revision!r}: a folder has no revisions; remove the key")
    if limits.default_tier is not None and limits.default_tier not in limits.tiers:
        problems.append(f"[{table}] default_tier = {limits.default_tier!r} is not among its tiers {list(limits.tiers)}")
    if odd := [size for size in limits.batch_sizes if size & (size - 1)]:
        problems.append(f"[{table}] batch_shapes: {odd} are not powers of two, at which alone a seed is exact")
    if any(size > limits.max_batch for size in limits.batch_sizes):
        problems.append(f"[{table}] batch_shapes = {list(limits.batch_sizes)} go above max_batch = {limits.max_batch}")
    prompt = card.wording.prompt
    try:
        prompt.format(scene="", mood="", colors="")
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        problems.append(
            f"[{table}] prompt = {prompt!r}: only {{scene}}, {{mood}} and {{colors}} can be filled in ({error})"
        )
    folder = None if weights.folder is None else _absolute(base, weights.folder)
    if card.enabled:
        problems.extend(f"[{table}] {problem}" for problem in _problems_with_files(card, folder))
    if len(problems) > before:
        return None
    if folder is None:
        return card
    stamp = stamp_of(folder) if card.enabled else None
    return msgspec.structs.replace(card, weights=msgspec.structs.replace(weights, folder=str(folder), stamp=stamp))


def _absolute(base: Path, folder: str) -> Path:
    """Return a card's folder as an absolute path: with its links followed, if it can be reached."""
    try:
        return (base / folder).resolve()
    except (OSError, RuntimeError, ValueError):
        # A link loop, a name too long, or a NUL in it: why is told once the folder is looked into.
        return base.absolute() / folder


def _problems_with_files(card: ModelCard, folder: Path | None) -> list[str]:
    """Return what is wrong with an enabled card as its pipeline would see it, and with its folder."""
    if folder is None:
        return list(problems_of(card, None))
    key = f"folder = {_short(card.weights.folder)}"
    remedy = "correct the path or set enabled = false"
    try:
        folder.stat()
        if not (folder / "model_index.json").exists():
            return [f"{key}: no diffusers model at {folder} ({_what_is_there(folder)}); {remedy}"]
        problems = list(problems_of(card, folder))
        stamp_of(folder)
    except FileNotFoundError:
        return [f"{key}: no diffusers model at {folder} (there is no such folder); {remedy}"]
    except PermissionError as error:
        return [
            f"{key}: {error.filename} may not be read by this user; change its owner or mode, or set enabled = false"
        ]
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return [f"{key}: it cannot be examined ({why}); {remedy}"]
    return problems


def _what_is_there(folder: Path) -> str:
    """Return what a folder without model_index.json is like. Raises OSError."""
    if folder.is_file():
        return "it is a file; single-file checkpoints have to be converted to a diffusers folder"
    single = next((path.name for path in sorted(folder.iterdir()) if path.suffix in (".safetensors", ".ckpt")), None)
    if single is None:
        return "it has no model_index.json"
    return (
        f"it has no model_index.json, but {single}; a single-file checkpoint has to be converted to a diffusers folder"
    )


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
    "palette": "prompt or match",
    "multiple_of": "a whole number 1–256",
    "max_batch": "a whole number of slots, 1–64",
    "pinned": "true or false",
    "reproducible": "true or false",
    "slots": "true or false",
    "enabled": "true or false",
    "models": "a table [models.NAME] for each model",
}
