"""The origin of an image: the job it was made for, and what its client calls it; kept in the PNG beside the recipe."""

from pathlib import Path

import msgspec
from PIL import Image

#: The key of the origin's text chunk in a PNG.
CHUNK = "backlot-origin"


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """What leads from a file back to its job. It does not change the image."""

    #: The job's public id.
    job: str
    display_name: str
    #: Of a background's spec, as it was written.
    scene_type: str | None = None
    mood: str | None = None


def read_origin(path: Path) -> Origin | None:
    """Return the origin of a PNG; None if the file has none, as those of earlier versions. Raises OSError."""
    with Image.open(path) as image:
        image.load()
        text = getattr(image, "text", {}).get(CHUNK)
    try:
        return None if text is None else msgspec.json.decode(text.encode(), type=Origin)
    except msgspec.MsgspecError:
        # Written by a later version, or by an editor.
        return None
