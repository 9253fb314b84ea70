"""The packages that the client imports: it is a distribution of its own, and small."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import backlot_client

PACKAGE = Path(backlot_client.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Yield the name of every package beyond the standard library that a file imports when it runs."""
    statements = ast.parse(path.read_text()).body
    run = [node for node in statements if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    for node in ast.walk(ast.Module(run, [])):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from {name.partition(".")[0] for name in names} - sys.stdlib_module_names


def test_the_library_needs_httpx_and_msgspec_and_only_the_command_more() -> None:
    by_place: dict[bool, set[str]] = {True: set(), False: set()}
    for path in MODULES:
        by_place["command" in path.parts].update(imported(path))
    assert by_place[False] - {"backlot_client"} == {"httpx", "msgspec"}
    assert by_place[True] - {"backlot_client", "msgspec"} == {"rich"}


def test_the_library_does_not_import_the_command() -> None:
    library = [path for path in MODULES if "command" not in path.parts and path.name != "__main__.py"]
    assert library
    assert not [path for path in library if "backlot_client.command" in path.read_text()]
