"""`backlot models`: the models of models.toml, and what they were measured to cost on this box."""

import sys
from collections.abc import Iterable

import click
import msgspec

from server.ledger import batch_costs
from server.ledger.database import migrate
from server.models_file import ModelsFileError, load_models
from server.operator.data_folder import reading
from server.operator.output import json_option, show, show_table
from server.settings import Settings, read_settings


@click.group()
def models() -> None:
    """The models of models.toml."""


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the models, with what was measured of each on this box."""
    settings = read_settings()
    file = load_models(settings.models)
    measured = _measured(settings)
    rows = [
        {
            "name": name,
            "enabled": card.enabled,
            "default": name == file.default_model,
            "source": card.weights.folder or f"{card.weights.hub}@{card.weights.revision or 'main'}",
            "dtype": card.weights.dtype,
            "tiers": card.limits.tiers,
            "steps": card.sampling.steps,
            "guidance": card.sampling.guidance,
            "batch_shapes": card.limits.allowed_batch_sizes,
            "licence": card.licence,
            "measured": _in_fields(measured.get(name, [])) if as_json else _in_words(measured.get(name, [])),
        }
        for name, card in file.models.items()
    ]
    show_table(rows, as_json=as_json)


@models.command()
@json_option
def check(as_json: bool) -> None:
    """Check models.toml and tell every problem."""
    path = read_settings().models
    try:
        file = load_models(path)
    except ModelsFileError as error:
        if not as_json:
            raise
        show({"ok": False, "problems": error.problems}, "", as_json=True)
        sys.exit(1)
    enabled = list(file.enabled)
    answer = {"ok": True, "problems": [], "enabled": enabled, "default": file.default_model}
    show(answer, f"{path} is good: {', '.join(enabled)} enabled, default {file.default_model}", as_json=as_json)


def _measured(settings: Settings) -> dict[str, list[batch_costs.CostRow]]:
    """Return what calls of each model's denoiser were measured to cost, by the model's name."""
    if not settings.database.exists():
        return {}
    # A version with other columns may have measured them.
    migrate(settings.database)
    found: dict[str, list[batch_costs.CostRow]] = {}
    with reading(settings) as connection:
        for cost in batch_costs.all_(connection):
            found.setdefault(cost.model, []).append(cost)
    return found


def _in_fields(costs: Iterable[batch_costs.CostRow]) -> list[dict[str, object]]:
    return [{name: value for name, value in msgspec.structs.asdict(cost).items() if name != "model"} for cost in costs]


def _in_words(costs: Iterable[batch_costs.CostRow]) -> str:
    """`512x512 on NVIDIA …: 1 in 0.021 s, 2 in 0.030 s, 4 does not fit`."""
    by_size: dict[str, list[str]] = {}
    for cost in costs:
        time = "does not fit" if cost.seconds_per_step is None else f"in {cost.seconds_per_step:.3f} s"
        by_size.setdefault(f"{cost.width}x{cost.height} on {cost.device}", []).append(f"{cost.shape} {time}")
    return "; ".join(f"{size}: {', '.join(times)}" for size, times in by_size.items())
