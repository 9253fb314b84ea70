"""The imports between parts, read from the source of every module."""

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from tests.support.server import ROOT

#: The parts of `pipelines` that `server` may import: all of them are free of torch.
SHARED = {
    "pipelines",
    "pipelines.aspect_ratios",
    "pipelines.batch_choice",
    "pipelines.checks",
    "pipelines.checks.card",
    "pipelines.checks.files",
    "pipelines.checks.fit",
    "pipelines.checks.single_file",
    "pipelines.checks.steering",
    "pipelines.colors",
    "pipelines.denoising.families",
    "pipelines.diffusers_classes",
    "pipelines.evaluation",
    "pipelines.failure_reason",
    "pipelines.guidance",
    "pipelines.lora",
    "pipelines.hub",
    "pipelines.hub.cache",
    "pipelines.hub.messages",
    "pipelines.log_format",
    "pipelines.memory_estimate",
    "pipelines.model_card",
    "pipelines.model_index",
    "pipelines.nearest_name",
    "pipelines.origin",
    "pipelines.output",
    "pipelines.output.whole_file",
    "pipelines.printable",
    "pipelines.protocol",
    "pipelines.recipe",
    "pipelines.step_cache",
    "pipelines.studio_tiny",
    "pipelines.studio_tiny.meaning",
    "pipelines.studio_tiny.vocabulary",
    "pipelines.upscale",
    "pipelines.weight_digests",
    "pipelines.weight_files",
}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements and those within them. Expressions, which are many times as many, hold none."""
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from statements(getattr(node, part, ()))


@cache
def imported(path: Path) -> frozenset[str]:
    """Return every module that a file imports anywhere, by its full name."""
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            for alias in node.names:
                if (ROOT / node.module.replace(".", "/") / f"{alias.name}.py").exists():
                    found.add(f"{node.module}.{alias.name}")
    return frozenset(found)


def crossings(paths: list[Path], is_forbidden: Callable[[str], bool]) -> dict[str, list[str]]:
    """Return what each file imports and may not."""
    found = {str(path.relative_to(ROOT)): sorted(filter(is_forbidden, imported(path))) for path in paths}
    assert found
    return {path: names for path, names in found.items() if names}


def test_the_server_reaches_only_the_shared_part_of_pipelines() -> None:
    assert not crossings(modules("server"), lambda name: name.split(".")[0] == "pipelines" and name not in SHARED)


def test_pipelines_never_import_the_server() -> None:
    others = ("server", "litestar", "sqlite3", "sqlite_utils")
    assert not crossings(modules("pipelines"), lambda name: name.split(".")[0] in others)


def test_unit_tests_start_no_process_and_no_server_and_need_no_torch() -> None:
    heavy = ("subprocess", "multiprocessing", "torch", "diffusers", "tests.support.tiny")
    assert not crossings(modules("tests/unit"), lambda name: name in heavy)


def test_what_test_files_share_is_in_support() -> None:
    folders = ("tests.unit", "tests.integration", "tests.acceptance", "tests.page")
    tests = [path for path in modules("tests") if path.name.startswith("test_")]
    assert not crossings(tests, lambda name: name.startswith(folders))
