"""The nearest known name to one that is not known."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], least: float = 0.6) -> str:
    """Return `; did you mean 'steps'?`, or nothing if no known name is near: `least` of 1 takes only the name itself."""
    near = difflib.get_close_matches(name[:64], list(known), n=1, cutoff=least)
    return f"; did you mean {near[0]!r}?" if near else ""
