"""The known name that is nearest to an unknown one."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return `; did you mean 'steps'?`, or nothing if no known name is near. Names are compared without `prefix`."""
    parts = [each.removeprefix(prefix) for each in known]
    near = difflib.get_close_matches(name.removeprefix(prefix)[:64], parts, n=1)
    return f"; did you mean {prefix + near[0]!r}?" if near else ""
