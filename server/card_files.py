"""The files of a model card: their places on this box, and what they contradict on the card.

A card that its files or its pipeline contradict makes only its own model unusable.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from pipelines.checks.card import problems_of
from pipelines.checks.files import problems_of_files
from pipelines.checks.single_file import why_no_checkpoint
from pipelines.guidance import takes_guidance
from pipelines.hub.cache import cached_folder
from pipelines.model_card import ModelCard, Weights
from pipelines.model_index import read_model_index, read_table
from pipelines.weight_files import PICKLES, PICKLES_RUN_CODE, BadWeights, check_file, stamp_of

#: Endings of the names of checkpoints in one file.
CHECKPOINTS = (".safetensors", ".gguf", *PICKLES)
_REMEDY = "correct the path or set enabled = false"


def with_files(card: ModelCard, base: Path) -> tuple[ModelCard, list[str]]:
    """Return the card with absolute paths and the stamp of its files, and what they or its pipeline contradict on it.

    Paths are relative to `base`. The files of a model that is not enabled are not examined.
    """
    folder, file = card.weights.folder, card.weights.file
    weights = msgspec.structs.replace(
        card.weights,
        folder=None if folder is None else str(absolute(base, folder)),
        file=None if file is None else str(absolute(base, file)),
    )
    placed = msgspec.structs.replace(card, weights=weights)
    if not card.enabled:
        return placed, []
    if weights.file is None:
        return _with_folder(placed)
    problems = _examined(f"file = {file!r}", lambda: _problems_of_file(weights))
    if problems:
        return placed, problems
    found, problems = _with_folder(placed)
    if found.weights.stamp is None and weights.hub is not None:
        # The parts that the file lacks are still to be downloaded.
        return found, problems
    return _with_stamp_of_file(found), problems


def with_download(card: ModelCard, folder: Path) -> ModelCard:
    """Return a hub's card as it is once its files are in this folder of the cache. Raises OSError or ValueError."""
    found = _told_by(folder, card, folder.name)
    return found if found.weights.file is None else _with_stamp_of_file(found)


def _with_folder(card: ModelCard) -> tuple[ModelCard, list[str]]:
    """Return the card with what its folder or the files of its hub id say of it, and what is wrong with it."""
    weights = card.weights
    if weights.folder is None:
        return _with_cache(card)
    folder = Path(weights.folder)
    problems = _examined(f"folder = {weights.folder!r}", lambda: _problems_of_folder(card, folder))
    if problems:
        return card, problems
    return _told_by(folder, card, stamp_of(folder)), []


def _with_cache(card: ModelCard) -> tuple[ModelCard, list[str]]:
    """Return a hub's card, stamped with the commit of its files if they are all here, and what is wrong with it."""
    try:
        folder = cached_folder(card.weights)
        if folder is None or any(problems_of_files(card, folder, read_model_index(folder))):
            return card, list(problems_of(card, None))
        return _told_by(folder, card, folder.name), list(problems_of(card, folder))
    except (OSError, ValueError) as error:
        return card, [f"hub = {card.weights.hub!r}: its files in the hub's cache cannot be examined ({error})"]


def _with_stamp_of_file(card: ModelCard) -> ModelCard:
    """Return a card whose stamp changes with its file too. Raises OSError."""
    stamp = stamp_of(Path(card.weights.file or ""))
    if card.weights.stamp is not None:
        stamp = f"{card.weights.stamp}+{stamp}"
    return msgspec.structs.replace(card, weights=msgspec.structs.replace(card.weights, stamp=stamp))


def _told_by(folder: Path, card: ModelCard, stamp: str) -> ModelCard:
    """Return the card with the stamp of its files and what they say of its model. Raises OSError or ValueError."""
    index = read_model_index(folder)
    here = msgspec.structs.replace(
        card.weights,
        stamp=stamp,
        pipeline=index.pipeline,
        own_scheduler=index.scheduler,
        takes_guidance=takes_guidance(folder),
    )
    return msgspec.structs.replace(card, weights=here)


def absolute(base: Path, path: str) -> Path:
    """Return a path of models.toml as an absolute one, its links followed if it can be reached."""
    try:
        return (base / path).resolve()
    except (OSError, RuntimeError, ValueError):
        # It has a link loop, too long a name, or a NUL; examining it later says which.
        return base.absolute() / path


def _problems_of_folder(card: ModelCard, folder: Path) -> list[str]:
    """Return what is wrong with a card as the pipeline of its folder would see it. Raises OSError or ValueError."""
    folder.stat()
    if not (folder / "model_index.json").exists():
        return [f"folder = {card.weights.folder!r}: no diffusers model there ({what_is_there(folder)}); {_REMEDY}"]
    # This looks at its files, so that one that cannot be examined is reported now.
    stamp_of(folder)
    return list(problems_of(card, folder))


def _problems_of_file(weights: Weights) -> list[str]:
    """Return what is wrong with a card's checkpoint in one file, as far as its name and its header tell. Raises OSError."""
    file = Path(weights.file or "")
    if file.is_dir():
        return [f"file = {weights.file!r}: it is a folder; write folder instead"]
    problem = problem_of_file(file, pickle=weights.pickle)
    return [] if problem is None else [f"file = {weights.file!r}: {problem}"]


def problem_of_file(file: Path, *, pickle: bool) -> str | None:
    """Return why a file is no checkpoint that can be used, as far as its name and its header tell; None if nothing does.

    `pickle` says that pickled weights are trusted. Raises OSError.
    """
    if file.suffix == ".sft":
        return ".sft is another name for .safetensors, so rename it"
    if file.suffix not in CHECKPOINTS:
        return f"a checkpoint ends in {', '.join(CHECKPOINTS)}; name another file"
    if file.name.endswith(PICKLES) and not pickle:
        return PICKLES_RUN_CODE
    file.stat()
    try:
        check_file(file)
        return why_no_checkpoint(file)
    except BadWeights as error:
        return str(error)


def _examined(key: str, examine: Callable[[], list[str]]) -> list[str]:
    """Return what examining files finds wrong, or why they cannot be examined."""
    try:
        return examine()
    except FileNotFoundError:
        return [f"{key}: there is no such {key.split(' ')[0]}; {_REMEDY}"]
    except PermissionError as error:
        return [
            f"{key}: {error.filename} may not be read by this user; change its owner or mode, or set enabled = false"
        ]
    except (OSError, ValueError) as error:
        why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        return [f"{key}: it cannot be examined ({why}); {_REMEDY}"]


def what_is_there(folder: Path) -> str:
    """Say what a path without model_index.json holds instead. Raises OSError or ValueError."""
    if folder.is_file():
        return "it is a file; write file instead of folder"
    # The hub's cache has a folder for each commit.
    inner = next(
        (path.parent for pattern in ("", "snapshots/") for path in folder.glob(f"{pattern}*/model_index.json")), None
    )
    if inner is not None:
        return f"it has no model_index.json, and {inner} has one"
    if (folder.parent / "model_index.json").is_file():
        return f"it is one part of the model in {folder.parent}"
    if (config := folder / "config.json").is_file() and (kind := read_table(config).get("_class_name")) is not None:
        return f"it is a {kind} alone, one part of a model"
    names = sorted(path.name for path in folder.iterdir())
    if any(name.startswith(("pytorch_lora_weights.", "adapter_model.")) for name in names):
        return "it is a LoRA, whose file belongs in a table [loras.NAME]"
    single = next((name for name in names if name.endswith(CHECKPOINTS)), None)
    if single is None:
        return "it has no model_index.json"
    return f"it has no model_index.json; a checkpoint in one file, such as {single}, is named itself, not by its folder"
