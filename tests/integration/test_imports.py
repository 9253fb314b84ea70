"""What a fresh interpreter has imported: torch belongs to the GPU process alone."""

import subprocess
import sys

import pytest

from tests.support.server import ROOT


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


def test_the_operator_s_command_imports_nothing_slow() -> None:
    code = (
        "import server.operator.command, sys; print({'numpy', 'rich', 'litestar', 'sqlite_utils'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
