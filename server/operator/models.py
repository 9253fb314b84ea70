"""`backlot models`: the models of models.toml, and what they were measured to cost on this box."""

import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import click
import msgspec

from pipelines.hub.cache import cached_folder
from pipelines.memory_estimate import component_bytes, size_for_people
from pipelines.model_card import ModelCard
from pipelines.weight_files import BadWeights
from server.ledger import batch_costs
from server.ledger.connection import migrate
from server.models_file import Models, ModelsFileError, load_models
from server.operator.errors import CommandError
from server.operator.ledger import reading
from server.operator.output import json_option, show, show_table, tell
from server.settings import Settings, read_settings
from server.validation import unknown


@click.group()
def models() -> None:
    """List, check, add, download and reload the models of models.toml."""


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
            "source": card.weights.source,
            "dtype": card.weights.dtype,
            "tiers": card.tiers,
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
@click.option("--load", metavar="NAME", help="Load this model too, in a GPU process of its own.")
@click.option("--run", metavar="NAME", help="Load this model and make an image with it at each batch size.")
@json_option
def check(load: str | None, run: str | None, as_json: bool) -> None:
    """Check models.toml and tell every problem."""
    settings = read_settings()
    path = settings.models
    try:
        file = load_models(path)
        if file.problems:
            unusable = ", ".join([*file.unusable, *file.unusable_loras])
            raise ModelsFileError(path, file.problems, f"can be used, but not for {unusable}")
        answer: dict[str, object] = {
            "ok": True,
            "problems": [],
            "enabled": list(file.enabled),
            "default": file.default_model,
        }
        enabled = ", ".join(file.enabled)
        tell(f"{path} is good: {enabled} enabled, default {file.default_model}", as_json=as_json)
        tried = {name: _card(file, name) for name in (load, run) if name is not None}
        memory = answer["memory"] = _memory(tried or file.enabled, _measured(settings))
        for name, model in memory.items():
            tell(f"{name}: {_in_memory(model)}", as_json=as_json)
        if load is not None:
            # Imported here: asyncio takes longer to import than a check without it takes to run.
            from server.operator.gpu_process import load_alone

            loaded = load_alone(settings, tried[load])
            answer["loaded"] = {
                "name": load,
                "revision": loaded.revision,
                "seconds": loaded.seconds,
                "weight_bytes": loaded.weight_bytes,
            }
            weights = size_for_people(loaded.weight_bytes)
            text = f"{load} loads in {loaded.seconds:.1f} s, revision {loaded.revision}; its weights take {weights}"
            tell(text, as_json=as_json)
        if run is not None:
            from server.operator.trial import try_model

            answer["run"] = try_model(settings, file, tried[run], partial(tell, as_json=as_json))
    except (ModelsFileError, CommandError) as error:
        if not as_json:
            raise
        problems = error.problems if isinstance(error, ModelsFileError) else [str(error)]
        show({"ok": False, "problems": problems}, "", as_json=True)
        sys.exit(1)
    if as_json:
        show(answer, "", as_json=True)


@models.command()
@click.argument("source", metavar="HUB_ID|FOLDER|FILE")
@click.option(
    "--name", metavar="NAME", help="What clients call it; without this, its id, folder or file gives the name."
)
@click.option("--config", metavar="FOLDER|HUB_ID", help="A model of the same kind, for a checkpoint in one file.")
@click.option(
    "--pickle", is_flag=True, help="Read pickled weights too, which can run code: only if you trust their maker."
)
@json_option
def add(source: str, name: str | None, config: str | None, pickle: bool, as_json: bool) -> None:
    """Add a model to models.toml, downloading it if need be, and say what was assumed."""
    # Imported here: what it needs takes longer to import than most commands take to run.
    from server.operator.adding import add_model

    path = read_settings().models
    added = add_model(path, source, name, config, pickle=pickle)
    lines = [f"{path} has {added.name} now:", *(f"  {key} = {value!r}" for key, value in added.card.items())]
    lines += ["Assumed:", *(f"  {text}" for text in added.assumed)]
    lines.append(f"Try it with: backlot models check --run {added.name}")
    show(added, "\n".join(lines), as_json=as_json)


@models.command()
@click.argument("name", metavar="NAME")
@json_option
def fetch(name: str, as_json: bool) -> None:
    """Download a hub's model to this box, or go on where a download was cut off."""
    # Imported here: asyncio takes longer to import than most commands take to run.
    from server.operator.fetching import fetch_alone

    card = _card(load_models(read_settings().models), name)
    if card.weights.hub is None:
        raise CommandError(f"{name} is {card.weights.source} on this box; there is nothing to download")
    done = fetch_alone(card)
    answer = {"name": name, "folder": done.folder, "bytes": done.total_bytes}
    show(answer, f"{name}: {done.total_bytes / 1e6:.1f} MB in {done.folder}", as_json=as_json)


@models.command()
@click.argument("name", metavar="NAME")
@json_option
def reload(name: str, as_json: bool) -> None:
    """Have a running server take up the changed files of a model's folder, or what was fetched from its hub."""
    path = read_settings().models
    card = _card(load_models(path), name)
    if not card.enabled:
        raise CommandError(f"{name} is not enabled, so no server has it in memory")
    # A server reads models.toml again whenever it is saved, and looks at the files of every folder then.
    try:
        path.touch()
    except OSError as error:
        raise CommandError(f"{path} cannot be touched, by which a server knows that it was saved: {error}") from error
    answer = {"name": name, "stamp": card.weights.stamp}
    show(answer, f"{name}: its next image uses the files as they are now", as_json=as_json)


def _card(file: Models, name: str) -> ModelCard:
    card = file.models.get(name)
    if card is None:
        raise CommandError(unknown("model", name, list(file.models)))
    return card


def _measured(settings: Settings) -> dict[str, list[batch_costs.CostRow]]:
    """Return the measured costs of each model's denoiser calls, by the model's name."""
    if not settings.database.exists():
        return {}
    # An older version, with other columns, may have measured them.
    migrate(settings.database)
    found: dict[str, list[batch_costs.CostRow]] = {}
    with reading(settings) as connection:
        for cost in batch_costs.all_(connection):
            found.setdefault(cost.model, []).append(cost)
    return found


class _Memory(msgspec.Struct, frozen=True):
    """The memory of devices that a model takes."""

    #: Bytes of each component, the largest first, estimated from the headers of its files.
    weight_bytes: dict[str, int]
    #: By device, the most bytes in use while it made one image at once on this box, other models in memory included.
    peak_bytes: dict[str, int]
    #: By device, the bytes that the image took beside the weights, as far as they were measured.
    working_bytes: dict[str, int]


def _memory(cards: Mapping[str, ModelCard], measured: dict[str, list[batch_costs.CostRow]]) -> dict[str, _Memory]:
    """Return the memory that each of these models takes, of those whose files are on this box."""
    found = {}
    for name, card in cards.items():
        weights = card.weights
        folder = Path(weights.folder) if weights.folder is not None else cached_folder(weights)
        if not card.is_on_this_box or (folder is None and weights.file is None):
            continue
        try:
            components = component_bytes(card, folder)
        except (BadWeights, OSError, ValueError) as error:
            raise CommandError(f"{name}: its files cannot be examined ({error})") from error
        peaks: dict[str, int] = {}
        working: dict[str, int] = {}
        for cost in measured.get(name, []):
            if cost.peak_bytes is not None and cost.shape == 1:
                peaks[cost.device] = max(cost.peak_bytes, peaks.get(cost.device, 0))
            if cost.working_bytes is not None and cost.shape == 1:
                working[cost.device] = max(cost.working_bytes, working.get(cost.device, 0))
        found[name] = _Memory(components, peaks, working)
    return found


def _in_memory(model: _Memory) -> str:
    """Return `about 6.5 GiB of weights (unet 4.8 GiB, …); 8.1 GiB in use with one image at once on NVIDIA …`."""
    listed = ", ".join(f"{name} {size_for_people(size)}" for name, size in model.weight_bytes.items())
    told = [f"about {size_for_people(sum(model.weight_bytes.values()))} of weights ({listed})"]
    for device, peak in model.peak_bytes.items():
        for_image = model.working_bytes.get(device)
        part = "" if for_image is None else f", {size_for_people(for_image)} of it beside the weights"
        told.append(f"{size_for_people(peak)} in use with one image at once on {device}{part}")
    return "; ".join(told)


def _in_fields(costs: Iterable[batch_costs.CostRow]) -> list[dict[str, object]]:
    return [{name: value for name, value in msgspec.structs.asdict(cost).items() if name != "model"} for cost in costs]


def _in_words(costs: Iterable[batch_costs.CostRow]) -> str:
    """Return `512x512 on NVIDIA …: 1 in 0.021 s, 2 in 0.030 s, 4 does not fit`."""
    by_size: dict[str, list[str]] = {}
    for cost in costs:
        time = "does not fit" if cost.seconds_per_step is None else f"in {cost.seconds_per_step:.3f} s"
        by_size.setdefault(f"{cost.width}x{cost.height} on {cost.device}", []).append(f"{cost.shape} {time}")
    return "; ".join(f"{size}: {', '.join(times)}" for size, times in by_size.items())
