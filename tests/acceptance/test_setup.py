"""`./scripts/setup` in a checkout that was copied or moved, and twice at once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.server import ROOT

#: A project without dependencies, so that setting it up needs no network.
_PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "nothing"
version = "1"
"""
#: A build backend that builds the empty distribution `nothing`, with a command that says where it was set up.
_BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    files = {
        "where.py": "import sys\\ndef main(): print(sys.prefix)\\n",
        "nothing-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: nothing\\nVersion: 1\\n",
        "nothing-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "nothing-1.dist-info/entry_points.txt": "[console_scripts]\\nwhere = where:main\\n",
        "nothing-1.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(folder + "/nothing-1-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "nothing-1-py3-none-any.whl"
build_wheel = build_editable
"""


def set_up(checkout: Path) -> str:
    """Run `./scripts/setup run`, and return what it says."""
    environment = {**os.environ, "PYTHON": sys.executable}
    script = checkout / "scripts" / "setup"
    done = subprocess.run([script, "run"], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def where(checkout: Path) -> str:
    """Return the environment in which a command of the checkout works."""
    return subprocess.run([checkout / ".venv/bin/where"], capture_output=True, text=True, check=True).stdout.strip()


def new_checkout(folder: Path) -> Path:
    """Make a checkout of a project that depends on nothing."""
    (folder / "scripts").mkdir(parents=True)
    (folder / "client").mkdir()
    shutil.copy(ROOT / "scripts" / "setup", folder / "scripts" / "setup")
    (folder / "pyproject.toml").write_text(_PROJECT)
    (folder / "backend.py").write_text(_BACKEND)
    for name in ("client/pyproject.toml", "constraints.txt"):
        (folder / name).write_text("")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_a_checkout_that_was_copied_or_moved_sets_itself_up_again(
    how: Callable[[str, str], object], tmp_path: Path
) -> None:
    first, second = new_checkout(tmp_path / "first checkout"), tmp_path / "second checkout"
    assert "Making .venv" in set_up(first)
    assert where(first) == f"{first}/.venv"
    assert set_up(first) == "", "there was nothing to do"

    how(str(first), str(second))
    assert f"copied or moved from {first}" in set_up(second)
    assert where(second) == f"{second}/.venv"
    assert set_up(second) == ""


@pytest.mark.slow
def test_two_that_set_up_at_once_install_once(tmp_path: Path) -> None:
    checkout = new_checkout(tmp_path / "checkout")
    with ThreadPoolExecutor(2) as threads:
        said = [*threads.map(set_up, [checkout, checkout])]
    assert "".join(said).count("Installing") == 1, said
    assert where(checkout) == f"{checkout}/.venv"
