"""Reads from the source of the installed diffusers what its classes take, so that a card can be checked without torch."""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

#: The folders of diffusers' source in which classes are looked up.
Part = Literal["pipelines", "schedulers", "models", "loaders"]

#: Names of the component that is a pipeline's denoiser, which it calls at each step.
DENOISERS = ("unet", "transformer")

#: An import from a file in the same folder.
_BESIDE = re.compile(rb"^from \.(\w+) import", re.MULTILINE)
_CLASS = re.compile(rb"^class (\w+)", re.MULTILINE)
#: A row of diffusers' table of the models that it reads from one file.
_IN_ONE_FILE = re.compile(rb'^    "(\w+)": \{', re.MULTILINE)


def class_names(part: Part) -> list[str]:
    """Return the names of the pipelines, or of the schedulers, sorted."""
    suffix = "Pipeline" if part == "pipelines" else "Scheduler"
    found = {name.decode() for path in _files(part) for name in _CLASS.findall(path.read_bytes())}
    return sorted(name for name in found if name.endswith(suffix))


@cache
def parameters(part: Part, class_name: str, method: str) -> tuple[str, ...] | None:
    """Return the names of a method's parameters, without `self`; None if there is no class or method of that name.

    A method that the class inherits from another class of the same part is found as well.
    """
    found = _class(part, class_name)
    if found is None:
        return None
    for member in found.body:
        if isinstance(member, ast.FunctionDef) and member.name == method:
            taken = (*member.args.posonlyargs, *member.args.args, *member.args.kwonlyargs)
            return tuple(argument.arg for argument in taken[1:])
    bases = (base.id for base in found.bases if isinstance(base, ast.Name) and base.id != class_name)
    return next((inherited for base in bases if (inherited := parameters(part, base, method)) is not None), None)


@cache
def told_scheduler(pipeline: str) -> frozenset[str]:
    """Return the names of the arguments with which a pipeline's call has its scheduler set the timesteps.

    Arguments that the call does not write by name are not found.
    """
    found = _class("pipelines", pipeline)
    return frozenset(
        keyword.arg
        for node in (ast.walk(found) if found is not None else ())
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "retrieve_timesteps"
        for keyword in node.keywords
        if keyword.arg is not None
    )


@cache
def call_defaults(pipeline: str) -> dict[str, int | float | None]:
    """Return the defaults of a pipeline's call that are numbers or None, by argument; none if diffusers lacks the class."""
    found = _class("pipelines", pipeline)
    for member in found.body if found is not None else ():
        if isinstance(member, ast.FunctionDef) and member.name == "__call__":
            pairs = zip(reversed(member.args.args), reversed(member.args.defaults), strict=False)
            return {
                argument.arg: default.value
                for argument, default in pairs
                if isinstance(default, ast.Constant) and isinstance(default.value, int | float | None)
            }
    return {}


def optional_components(pipeline: str) -> frozenset[str]:
    """Return the names of the components that a pipeline can do without."""
    return frozenset(attribute("pipelines", pipeline, "_optional_components") or ())


@cache
def attribute(part: Part, class_name: str, name: str) -> Any:
    """Return the literal to which the class itself sets an attribute; None if it sets none, or the class does not exist."""
    found = _class(part, class_name)
    for member in found.body if found is not None else ():
        if isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name) and member.targets[0].id == name:
            return ast.literal_eval(member.value)
    return None


@cache
def mentions(part: Part, class_name: str, word: str, *, imports: bool = False) -> bool:
    """Return whether a word is in the file that defines a class; False if diffusers has no class of that name.

    With `imports`, the files of the same folder that this file imports from count too.
    """
    path = _file_of(part, class_name)
    if path is None:
        return False
    source = path.read_bytes()
    beside = [path.with_name(f"{name.decode()}.py") for name in _BESIDE.findall(source)] if imports else []
    return any(word.encode() in text for text in (source, *(file.read_bytes() for file in beside if file.is_file())))


@cache
def models_in_one_file() -> frozenset[str]:
    """Return the names of the models that diffusers reads from a checkpoint in one file."""
    sources = [path.read_bytes() for path in _files("loaders") if path.name == "single_file_model.py"]
    return frozenset(name.decode() for source in sources for name in _IN_ONE_FILE.findall(source))


@cache
def _class(part: Part, name: str) -> ast.ClassDef | None:
    """Return the definition of a class. Only the file that holds it is parsed: to parse all of them would take seconds."""
    path = _file_of(part, name)
    body = [] if path is None else ast.parse(path.read_bytes()).body
    return next((node for node in body if isinstance(node, ast.ClassDef) and node.name == name), None)


@cache
def _file_of(part: Part, class_name: str) -> Path | None:
    start = re.compile(rb"^class %s\b" % re.escape(class_name.encode()), re.MULTILINE)
    for path in _files(part):
        source = path.read_bytes()
        if f"class {class_name}".encode() in source and start.search(source):
            return path
    return None


@cache
def _files(part: Part) -> tuple[Path, ...]:
    spec = importlib.util.find_spec("diffusers")
    if spec is None or not spec.submodule_search_locations:
        return ()
    return tuple(sorted((Path(spec.submodule_search_locations[0]) / part).rglob("*.py")))
