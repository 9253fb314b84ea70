"""The files in docs/deploy: systemd takes the unit as it is, and the operator's command runs with the service's settings."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from server.settings import read_settings
from tests.support.server import ROOT

DEPLOY = ROOT / "docs" / "deploy"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "backlot.service"
    # systemd checks that the unit's programs exist, and this checkout is elsewhere.
    unit.write_text((DEPLOY / "backlot.service").read_text().replace("/opt/backlot", str(ROOT)))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def environment() -> list[str]:
    """Return the variables that the unit sets, each as `NAME=value`."""
    lines = (DEPLOY / "backlot.service").read_text().splitlines()
    return [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]


def test_the_unit_sets_only_what_are_settings() -> None:
    assert read_settings(dict(line.split("=", 1) for line in environment())).data == Path("/var/lib/backlot")


def test_the_operators_command_has_what_the_unit_sets(tmp_path: Path) -> None:
    # The user and the folder of the service are not here, so this setpriv only shows what it was given.
    (tmp_path / "setpriv").write_text("#!/bin/sh\nenv\n")
    (tmp_path / "setpriv").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["sh", DEPLOY / "backlot-command"], env={"PATH": path}, capture_output=True, text=True)
    assert set(environment()) <= set(done.stdout.splitlines())
