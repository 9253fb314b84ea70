"""What the classes of the installed diffusers take, read from its source: so a card can be checked without torch."""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Literal

#: The folders of diffusers' source that a class is looked for in.
Part = Literal["pipelines", "schedulers"]

_CLASS = re.compile(rb"^class (\w+)", re.MULTILINE)


def class_names(part: Part) -> list[str]:
    """Return the names of the pipelines, or of the schedulers, sorted."""
    suffix = "Pipeline" if part == "pipelines" else "Scheduler"
    return sorted(name for name in _files(part) if name.endswith(suffix) and not name.startswith("_"))


@cache
def parameters(part: Part, class_name: str, method: str) -> tuple[str, ...] | None:
    """Return what a method takes by name, without `self`; None if diffusers has no such class, or the class no such method.

    A method that the class inherits from another class of the same part is found as well.
    """
    path = _files(part).get(class_name)
    if path is None:
        return None
    for node in ast.parse(path.read_bytes()).body:
        if not isinstance(node, ast.ClassDef) or node.name != class_name:
            continue
        for member in node.body:
            if isinstance(member, ast.FunctionDef) and member.name == method:
                taken = (*member.args.posonlyargs, *member.args.args, *member.args.kwonlyargs)
                return tuple(argument.arg for argument in taken[1:])
        bases = (base.id for base in node.bases if isinstance(base, ast.Name) and base.id != class_name)
        return next((found for base in bases if (found := parameters(part, base, method)) is not None), None)
    return None


@cache
def _files(part: Part) -> dict[str, Path]:
    """Return the file that each class is defined in."""
    spec = importlib.util.find_spec("diffusers")
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(spec.submodule_search_locations[0]) / part
    return {name.decode(): path for path in sorted(folder.rglob("*.py")) for name in _CLASS.findall(path.read_bytes())}
