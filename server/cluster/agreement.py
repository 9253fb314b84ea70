"""Decides whether a box has in common with the server what it must have. Pure."""

from importlib.metadata import PackageNotFoundError, version

import msgspec

#: Distributions whose whole versions must agree: server and GPU process exchange the messages of one version.
WHOLE = ("backlot",)
#: Distributions whose first two version numbers must agree: their results change with those.
MAJOR_MINOR = ("torch", "diffusers")


class About(msgspec.Struct, frozen=True):
    """A box's description of itself."""

    pid: int
    #: Versions by distribution; an empty one is not installed.
    versions: dict[str, str]


def installed() -> dict[str, str]:
    """Return the versions of the compared distributions in this process's environment."""
    return {name: _version(name) for name in (*WHOLE, *MAJOR_MINOR)}


def why_not(box: str, theirs: dict[str, str], ours: dict[str, str]) -> str | None:
    """Return why a box with these versions cannot work for the server, and what to do; None if it can."""
    for name, own in ours.items():
        other = theirs.get(name, "")
        if (other if name in WHOLE else _major_minor(other)) != (own if name in WHOLE else _major_minor(own)):
            has = f"has {name} {other}" if other else f"has no {name}"
            return f"{box} {has}, and the server has {own}: install that on the box, and restart Ray there"
    return None


def _major_minor(text: str) -> str:
    return ".".join(text.split(".")[:2])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
