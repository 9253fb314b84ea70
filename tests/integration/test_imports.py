"""The imports of a fresh interpreter: torch belongs to the GPU process alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT, ServerWithoutGpu


@pytest.mark.parametrize(
    "modules",
    [
        "server.http_server, server.__main__",
        "server.operator.command, server.operator.regeneration",
        "pipelines.output.image_writer, pipelines.output.measurement",
    ],
)
def test_no_torch(modules: str) -> None:
    code = f"import {modules}, sys; print({{'torch', 'diffusers', 'transformers'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_no_ray_without_its_setting(tmp_path: Path) -> None:
    """Check a server that is up, so that what it imports late counts too."""
    server = ServerWithoutGpu(tmp_path)
    server.start()
    try:
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert "sqlite3" in maps, "this shows the libraries of the process"
        assert "/ray/" not in maps
    finally:
        server.stop()


def test_the_operator_s_command_imports_nothing_slow() -> None:
    code = (
        "import server.operator.command, sys; print({'numpy', 'rich', 'litestar', 'sqlite_utils'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
