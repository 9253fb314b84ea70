"""Add a model's card to models.toml, which keeps its comments and its order."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import tomlkit
from tomlkit.items import InlineTable

from pipelines.checks.card import problems_of
from pipelines.hub.cache import cached_folder
from pipelines.model_card import ModelCard, Weights
from pipelines.weight_files import BadWeights, read_header
from server.card_files import CHECKPOINTS, problem_of_file, what_is_there
from server.card_proposal import propose
from server.models_file import ModelsFileError, load_models
from server.operator.errors import CommandError
from server.operator.fetching import fetch_alone

#: By a key that checkpoints in one file have, the hub id whose configuration they are read with.
_CONFIGURATIONS = {
    # This comes first, since it has the keys of SDXL too.
    "edm_mean": "playgroundai/playground-v2.5-1024px-aesthetic",
    "conditioner.embedders.1.model.positional_embedding": "stabilityai/stable-diffusion-xl-base-1.0",
    "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (
        "stable-diffusion-v1-5/stable-diffusion-v1-5"
    ),
}


class Added(msgspec.Struct, frozen=True):
    """A card that was added."""

    name: str
    card: dict[str, Any]
    assumed: list[str]


def add_model(path: Path, source: str, name: str | None, configuration: str | None, *, pickle: bool = False) -> Added:
    """Add the card of a hub id, a folder or a file, downloading what is not here. Raises CommandError.

    `configuration` is the folder or the hub id that a file is read with; `pickle` has pickled weights read too. Nothing is
    written unless the card is good.
    """
    document = _document(path)
    listed = document.get("models", {})
    try:
        place, called = _place_of(source, configuration, pickle=pickle)
    except (BadWeights, OSError) as error:
        raise CommandError(f"{source} cannot be used: {error}") from error
    same = next(
        (known for known, card in listed.items() if all(card.get(key) == value for key, value in place.items())), None
    )
    if same is not None and name is None:
        raise CommandError(f"{path} has {source} already, as {same!r}; to add it once more, give it a name with --name")
    name = name or _free_name(called, listed)
    if name in listed:
        raise CommandError(f"{path} has a model {name!r} already; choose another with --name")
    is_guessed = "file" in place and configuration is None
    try:
        folder, licence = _files_of(name, place, pickle=pickle)
    except CommandError as error:
        if not is_guessed:
            raise
        raise CommandError(
            f"{error}; a model of its kind on this box will do too: name its folder with --config"
        ) from error
    if not (folder / "model_index.json").is_file():
        raise CommandError(
            f"{folder} is no diffusers model ({what_is_there(folder)}); name a folder that has a model_index.json, or a"
            " checkpoint in one file"
        )
    try:
        file = Path(place["file"]) if "file" in place else None
        proposal = propose(folder, file, called, licence, pickle=pickle)
        # A branch moves, and a seed would give other bytes then.
        commit = {"revision": folder.name} if "hub" in place else {}
        card = {**place, **commit, **({"pickle": True} if pickle else {}), "enabled": True, **proposal.card}
        # The weights may be in the file; the folder has the pipeline, which the card must fit.
        told = list(problems_of(ModelCard.from_flat(name=name, **card), folder))
    except (OSError, ValueError, BadWeights) as error:
        raise CommandError(f"{folder} cannot be examined: {error}") from error
    if told:
        raise CommandError(f"{source} cannot be used: {'; '.join(told)}")
    _write(path, document, name, card)
    guess = [f"hub: the file's keys are those of {place['hub']}"] if is_guessed else []
    return Added(name, card, [*guess, *proposal.assumed])


def _document(path: Path) -> Any:
    """Return models.toml as it is written, empty if there is none. Raises CommandError."""
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8-sig") if path.exists() else "")
    except (OSError, ValueError) as error:
        raise CommandError(f"nothing can be added to {path}, which cannot be read: {error}") from error
    listed = document.get("models", {})
    if isinstance(listed, InlineTable) or not isinstance(listed, Mapping):
        raise CommandError(f"nothing can be added to {path}: write its models as tables [models.NAME] first")
    return document


def _place_of(source: str, configuration: str | None, *, pickle: bool) -> tuple[dict[str, str], str]:
    """Return a model's place, as a card writes it, and the name people use. Raises CommandError, BadWeights and OSError."""
    if not source.strip():
        raise CommandError("no model is named; name a folder, a file or a hub id such as org/name")
    here = Path(source).expanduser()
    if here.is_dir():
        if configuration is not None:
            raise CommandError("--config is for a checkpoint in one file; a folder has its own")
        return {"folder": str(here.resolve())}, here.resolve().name
    if here.is_file():
        if (problem := problem_of_file(here, pickle=pickle)) is not None:
            raise CommandError(f"{source} cannot be used: {problem}")
        place = {"file": str(here.resolve())}
        beside = configuration or _configuration_of(here)
        as_folder = Path(beside).expanduser()
        place |= {"folder": str(as_folder.resolve())} if as_folder.is_dir() else {"hub": beside}
        return place, here.stem
    if source.startswith(("/", ".", "~")) or source.endswith(CHECKPOINTS) or "/" not in source:
        raise CommandError(f"there is no {source}; name a folder, a file or a hub id such as org/name")
    hub = re.sub(r"^(https?://)?(www\.)?huggingface\.co/|/tree/main/?$", "", source).strip("/")
    return {"hub": hub}, hub.rpartition("/")[2]


def _configuration_of(file: Path) -> str:
    """Return the hub id that a checkpoint's keys stand for. Raises CommandError, BadWeights and OSError."""
    keys = read_header(file) if file.suffix == ".safetensors" else {}
    if found := next((hub for key, hub in _CONFIGURATIONS.items() if key in keys), None):
        return found
    raise CommandError(
        f"{file.name} does not say what it is; name a model of its kind with --config, a diffusers folder or a hub id"
    )


def _files_of(name: str, place: dict[str, str], *, pickle: bool) -> tuple[Path, str | None]:
    """Return the folder of a model's configuration, downloaded if need be, and the licence that its hub tells."""
    if "folder" in place:
        return Path(place["folder"]), None
    weights = Weights(hub=place["hub"])
    # Only the card's place counts; the rest of it is not known yet.
    card = ModelCard.from_flat(name=name, **place, pickle=pickle, licence="-", tiers=("1K",), steps=1, guidance=0.0)
    if told := list(problems_of(card, None)):
        raise CommandError("; ".join(told))
    folder = Path(fetch_alone(card).folder)
    return cached_folder(weights) or folder, _licence_of(place["hub"])


def _licence_of(hub: str) -> str | None:
    """Return what a hub says of a model's licence; None if it says nothing, or cannot be asked now."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        data = HfApi().model_info(hub, timeout=10.0).card_data
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError):
        return None
    return None if data is None else data.get("license_name") or data.get("license")


def _free_name(called: str, listed: Any) -> str:
    """Return a name that no model has: `flux-1-dev`, or `flux-1-dev-2`."""
    name = re.sub(r"[^a-z0-9]+", "-", called.lower()).strip("-")[:80] or "model"
    number = 2
    free = name
    while free in listed:
        free, number = f"{name}-{number}", number + 1
    return free


def _write(path: Path, document: Any, name: str, card: dict[str, Any]) -> None:
    """Write the card. Raises CommandError, and writes nothing, if models.toml would be refused with it."""
    table = tomlkit.table()
    for key, value in card.items():
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            table.add(key, inline)
        else:
            table.add(key, value)
    if "models" not in document:
        document.setdefault("default_model", name)
        document.add("models", tomlkit.table(is_super_table=True))
    document["models"][name] = table
    text = tomlkit.dumps(document)
    # If models.toml is a link, it stays one. Its paths are relative to the link's folder, so the trial file is there.
    file = path.resolve()
    trial, new = (each.with_name(f".{each.name}.trial") for each in (path, file))
    try:
        for each in (trial, new):
            each.write_text(text, encoding="utf-8")
        # Try the text first: a server that watches the file must never see a bad one.
        wrong = load_models(trial).unusable.get(name)
        if wrong:
            raise CommandError(f"nothing is written, since it could not be used: {'; '.join(wrong)}")
        if file.exists():
            _belong_like(new, file)
        new.replace(file)
    except ModelsFileError as error:
        raise CommandError(f"nothing is written, since it would be refused: {'; '.join(error.problems)}") from error
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error}") from error
    finally:
        for each in (trial, new):
            each.unlink(missing_ok=True)


def _belong_like(new: Path, old: Path) -> None:
    """Give a file the mode of another one and, if this runs as root, its owner: the server must be able to read it."""
    shutil.copymode(old, new)
    if os.geteuid() == 0:
        status = old.stat()
        os.chown(new, status.st_uid, status.st_gid)
