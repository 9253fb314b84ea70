"""`scripts/setup` installs for each part of the project whatever that part imports."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.server import ROOT

OWN = {
    "server": ROOT,
    "pipelines": ROOT,
    "tests": ROOT,
    "benchmarks": ROOT / "scripts",
    "backlot_client": ROOT / "client/src",
}

#: The extras that a user adds for a setting or a card's option; code that imports one says so if it is missing.
OPTIONS = ("nvidia", "quantization", "ray")


@pytest.mark.parametrize(
    ("start", "extras"),
    [
        ("server", OPTIONS),
        ("pipelines/worker", OPTIONS),
        ("pipelines/hub", ()),
        ("pipelines/studio_tiny/training", ("train",)),
        ("scripts/benchmarks", ("bench", *OPTIONS)),
        ("tests", ("test",)),
    ],
)
def test_what_is_imported_is_installed(start: str, extras: tuple[str, ...]) -> None:
    installed = installed_with(extras)
    needed = {name for name in imported(ROOT / start) if name not in sys.stdlib_module_names}
    assert len(needed) > 2
    providers = packages_distributions()
    missing = {
        name
        for name in needed
        # A package that is not even installed here is one that only some users have, such as flash_attn.
        if name in providers and not {canonicalize_name(one) for one in providers[name]} & installed
    }
    assert missing == set()


def installed_with(extras: tuple[str, ...]) -> set[str]:
    """Return all distributions that are installed with these extras, including those that they need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    todo = [Requirement(line) for line in lines]
    seen: set[str] = set()
    while todo:
        requirement = todo.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        try:
            needed = [Requirement(line) for line in requires(requirement.name) or []]
        except PackageNotFoundError:
            continue
        for one in needed:
            if any(one.marker is None or one.marker.evaluate({"extra": name}) for name in ("", *requirement.extras)):
                todo.append(one)
    return {canonicalize_name(Requirement(line).name) for line in seen}


def imported(folder: Path) -> set[str]:
    """Return the top names of the packages that a folder's modules import, directly or through other modules of the project."""
    seen: set[Path] = set()
    names: set[str] = set()
    todo = list(folder.rglob("*.py"))
    while todo:
        if (path := todo.pop()) in seen:
            continue
        seen.add(path)
        for module in modules(path):
            top = module.partition(".")[0]
            if top not in OWN:
                names.add(top)
                continue
            file = OWN[top] / module.replace(".", "/")
            todo += [one for one in (file.with_suffix(".py"), file / "__init__.py") if one.exists()]
    return names


def modules(path: Path) -> Iterator[str]:
    """Yield each name that a file imports; those of `from` also with what is imported, which may be a module itself."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
