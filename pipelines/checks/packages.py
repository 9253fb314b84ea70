"""Packages that some models need, and that are not installed with Backlot."""

from importlib.util import find_spec


def lack_of(module: str, package: str) -> str | None:
    """Return `needs PACKAGE; install it with: …` if the package's module is not installed; otherwise None."""
    if find_spec(module) is not None:
        return None
    # constraints.txt pins the versions that Backlot was tested with.
    return f"needs {package}; install it with: .venv/bin/python -m pip install -c constraints.txt {package}"
