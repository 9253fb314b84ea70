"""File names made of what people call their images: good on Linux, Windows and macOS."""

import unicodedata
from collections.abc import Iterable

#: Bytes of a name in UTF-8, without its suffix; file systems take 255 with it.
MOST_BYTES = 180
_FORBIDDEN = frozenset('<>:"/\\|?*')
#: Names of devices on Windows, with any suffix.
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}


def file_name(display_name: str) -> str:
    """Return a file name for an image of this name: `Warm marble.png`."""
    return f"{_stem(display_name)}.png"


def numbered(names: Iterable[str]) -> list[str]:
    """Return file names for images of these names; one that is there already, in upper or lower case, gets a number."""
    taken: set[str] = set()
    result = []
    for name in names:
        stem = found = _stem(name)
        number = 1
        while found.casefold() in taken:
            number += 1
            found = f"{stem} ({number})"
        taken.add(found.casefold())
        result.append(f"{found}.png")
    return result


def _stem(name: str) -> str:
    text = " ".join(unicodedata.normalize("NFC", name).split())
    # Control characters and invisible ones, such as those that turn the direction of writing, are left out.
    text = "".join("-" if c in _FORBIDDEN else c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    # A command takes a name with a dash for an option, a spreadsheet takes the others for formulas.
    text = text.lstrip("=+-@. ").rstrip(". ").encode()[:MOST_BYTES].decode(errors="ignore").rstrip(". ")
    if not text:
        return "image"
    return f"_{text}" if text.split(".")[0].strip().upper() in _DEVICES else text
