"""Which part may import which, read from the source of every module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import ROOT

#: What `server` may import of `pipelines`: all of it is free of torch.
SHARED = {
    "pipelines",
    "pipelines.aspect_ratios",
    "pipelines.batch_choice",
    "pipelines.checks",
    "pipelines.checks.card",
    "pipelines.checks.files",
    "pipelines.checks.steering",
    "pipelines.colors",
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


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere, by its full name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            for alias in node.names:
                if (ROOT / node.module.replace(".", "/") / f"{alias.name}.py").exists():
                    yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize("path", modules("server"), ids=str)
def test_the_server_reaches_only_the_shared_part_of_pipelines(path: Path) -> None:
    assert {name for name in imported(path) if name.split(".")[0] == "pipelines"} <= SHARED


@pytest.mark.parametrize("path", modules("pipelines"), ids=str)
def test_pipelines_never_import_the_server(path: Path) -> None:
    assert not {
        name for name in imported(path) if name.split(".")[0] in ("server", "litestar", "sqlite3", "sqlite_utils")
    }


@pytest.mark.parametrize("path", modules("tests/unit"), ids=str)
def test_unit_tests_start_no_process_and_no_server_and_need_no_torch(path: Path) -> None:
    assert not set(imported(path)) & {"subprocess", "multiprocessing", "torch", "diffusers", "tests.support.tiny"}


@pytest.mark.parametrize("path", [path for path in modules("tests") if path.name.startswith("test_")], ids=str)
def test_what_test_files_share_is_in_support(path: Path) -> None:
    folders = ("tests.unit", "tests.integration", "tests.acceptance", "tests.page")
    assert not [name for name in imported(path) if name.startswith(folders)]
