"""The origin of an image: the job it was made for, and what its client calls it.

A PNG on this server is the same for every job that asks for the same, so it does not name one. A copy that somebody saves
does, in text chunks beside the recipe.
"""

import struct
import zlib
from pathlib import Path

import msgspec

#: The key of the origin's text chunk in a PNG.
CHUNK = "backlot-origin"
#: The bytes of IEND, which ends a PNG: length, type, checksum.
_END = 12


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """What leads from a file back to its job."""

    #: The job's public id.
    job: str
    display_name: str
    #: Of a background's spec, as it was written.
    scene_type: str | None = None
    mood: str | None = None


def with_origin(png: bytes, origin: Origin) -> bytes:
    """Return a whole PNG with an origin, and its name as the Title that other programs show."""
    chunks = _text(CHUNK, msgspec.json.encode(origin, order="deterministic")) + _text(
        "Title", origin.display_name.encode()
    )
    return png[:-_END] + chunks + png[-_END:]


def read_origin(path: Path) -> Origin | None:
    """Return the origin of a PNG; None if the file has none. Raises OSError."""
    # Imported here: it takes longer to import than all else of this module's users to run.
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        text = getattr(image, "text", {}).get(CHUNK)
    try:
        return None if text is None else msgspec.json.decode(text.encode(), type=Origin)
    except msgspec.MsgspecError:
        # Written by a later version, or by an editor.
        return None


def _text(key: str, value: bytes) -> bytes:
    """Return an iTXt chunk, uncompressed, of no language; see section 11.3.3.4 of the PNG specification."""
    body = b"iTXt" + key.encode("latin-1") + b"\0\0\0\0\0" + value
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
