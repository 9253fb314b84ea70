"""Names of picture files, from a template such as `{row:04}-{scene_type}-{mood}.png`."""

import re
import string
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from backlot_client.answers import Artifact
from backlot_client.spec import BackgroundSpec

_SUFFIX = ".png"
#: The most bytes in UTF-8 of a field's value, and of a file's or a folder's name without its suffix.
_MOST_OF_VALUE = 80
_MOST_OF_NAME = 180
#: The most bytes that file systems take in a name.
_LONGEST_NAME = 255
_NOT_MADE_YET = Artifact(image_url=None, kind="", role="final", label="name", meta={"seed": 0})


class TemplateError(Exception):
    """The template cannot name a file; the message says why and what it may use."""


def check_template(template: str, spec: BackgroundSpec, **more: int) -> None:
    """Raise TemplateError if the template will not name this spec's picture."""
    file_name(template, spec, _NOT_MADE_YET, "job", **more)


def file_name(template: str, spec: BackgroundSpec, image: Artifact, job_id: str, **more: int) -> str:
    """Return a relative path in POSIX form that ends in `.png`. Raises TemplateError.

    The template may use the spec's text and number fields, the image's `seed`, `display_name` and `job_id`, the fields of
    the metadata, and `more`. Their texts are reduced to letters, digits, `_`, dots and hyphens, so that only the template
    itself can name folders. Texts and names that are too long are cut.
    """
    fields = {
        **spec.metadata,
        **msgspec.structs.asdict(spec),
        "seed": image.meta.get("seed", 0),
        "display_name": image.label,
        "job_id": job_id,
        **more,
    }
    usable = {name: value for name, value in fields.items() if isinstance(value, (str, int))}
    try:
        name = _Formatter().vformat(template, (), usable)
    except KeyError as error:
        raise TemplateError(
            f"the template {template!r} uses {str(error.args[0])!r}; this row has {', '.join(sorted(usable))}"
        ) from None
    except (ValueError, IndexError, AttributeError) as error:
        raise TemplateError(f"the template {template!r} cannot be filled in: {error}") from error
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise TemplateError(f"the template {template!r} gives {name!r}, which is no file within the output folder")
    stem, suffix = (path.stem, path.suffix) if path.suffix.lower() == _SUFFIX else (path.name, _SUFFIX)
    folders = [_cut(folder, _MOST_OF_NAME) for folder in path.parent.parts]
    return str(PurePosixPath(*folders, f"{_cut(stem, _MOST_OF_NAME)}{suffix}"))


def fits(name: str) -> bool:
    """Return whether file systems take each part of a relative path."""
    return all(len(part.encode()) <= _LONGEST_NAME for part in PurePosixPath(name).parts)


def unused(name: str, is_used: Callable[[str], bool]) -> str:
    """Return the name, if need be with the first number from 2 that makes it unused."""
    path = PurePosixPath(name)
    candidate, number = name, 1
    while is_used(candidate):
        number += 1
        candidate = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
    return candidate


class _Formatter(string.Formatter):
    """Fills in names only, no attributes or indices, and makes their texts safe for a file name."""

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        value = kwargs[field_name]
        return (_safe(value) if isinstance(value, str) else value), field_name


def _safe(text: str) -> str:
    return _cut(re.sub(r"[^\w.]+", "-", text), _MOST_OF_VALUE).strip("-.") or "x"


def _cut(text: str, most: int) -> str:
    """Return the longest beginning of a text that has at most `most` bytes; no character is cut in two."""
    return text.encode()[:most].decode(errors="ignore")
