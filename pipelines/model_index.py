"""model_index.json, which names the classes of a diffusers folder's pipeline and components; read without torch."""

import json
from pathlib import Path
from typing import Any

import msgspec

from pipelines.diffusers_classes import DENOISERS


class ModelIndex(msgspec.Struct, frozen=True):
    """The content of a model_index.json."""

    #: The pipeline's class; None if the folder brings a class of its own.
    pipeline: str | None
    #: The library and the class of each component, by its name, without the components that the folder says it lacks.
    components: dict[str, tuple[str, str]]

    @property
    def scheduler(self) -> str | None:
        """Return the scheduler's class; None if there is none."""
        _, kind = self.components.get("scheduler", ("", None))
        return kind

    @property
    def denoiser(self) -> str | None:
        """Return the name of the component that is the denoiser; None if there is none."""
        return next((name for name in DENOISERS if name in self.components), None)


def read_model_index(folder: Path) -> ModelIndex:
    """Return what a folder's model_index.json says. Raises OSError or ValueError if it cannot be read."""
    found = read_table(folder / "model_index.json")
    pipeline = found.get("_class_name")
    components = {}
    for name, value in found.items():
        match value:
            case [str(library), str(kind)] if not name.startswith("_"):
                components[name] = (library, kind)
    return ModelIndex(pipeline if isinstance(pipeline, str) else None, components)


def read_table(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises OSError, and ValueError if the file holds something else."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON ({error}); copy it again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is not a table; copy it again")  # noqa: TRY004  the file is bad, not the call
    return found


def read_if_there(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; an empty one if there is no file. Raises what read_table does."""
    return read_table(path) if path.is_file() else {}
