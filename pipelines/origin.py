"""The origin of an image: the job it was made for, and what its client calls it.

A PNG on this server is the same for every job with an equal spec, so it names no job. A copy that a person saves names it, in
text chunks beside the recipe.
"""

import struct
import zlib
from pathlib import Path

import msgspec

#: The key of the origin's text chunk in a PNG.
CHUNK = "backlot-origin"
#: Bytes of the chunk IEND, which ends a PNG: length, type, checksum.
_END = 12


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """The facts that lead from a file back to its job."""

    #: The job's public id.
    job: str
    display_name: str
    #: Scene and mood of a background's spec, as the client wrote them.
    scene_type: str | None = None
    mood: str | None = None


def with_origin(png: bytes, origin: Origin) -> bytes:
    """Return a PNG with the origin added, and its display name as the Title that other programs show."""
    chunks = _text(CHUNK, msgspec.json.encode(origin, order="deterministic")) + _text(
        "Title", origin.display_name.encode()
    )
    return png[:-_END] + chunks + png[-_END:]


def read_origin(path: Path) -> Origin | None:
    """Return the origin of a PNG; None if the file has none. Raises OSError."""
    # Pillow is imported here: to import it takes longer than anything that the users of this module do otherwise.
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        text = getattr(image, "text", {}).get(CHUNK)
    try:
        return None if text is None else msgspec.json.decode(text.encode(), type=Origin)
    except msgspec.MsgspecError:
        # A later version or an editor wrote it.
        return None


def _text(key: str, value: bytes) -> bytes:
    """Return an uncompressed iTXt chunk that names no language; see section 11.3.3.4 of the PNG specification."""
    body = b"iTXt" + key.encode("latin-1") + b"\0\0\0\0\0" + value
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
