"""The files in docs/deploy: systemd takes the unit as it is, and the operator's command runs with the service's settings."""

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


def test_the_unit_sets_only_what_are_settings() -> None:
    lines = (DEPLOY / "backlot.service").read_text().splitlines()
    values = dict(line.removeprefix("Environment=").split("=", 1) for line in lines if line.startswith("Environment="))
    assert read_settings(values).data == Path("/var/lib/backlot")


def test_the_operators_command_is_a_shell_script() -> None:
    assert subprocess.run(["sh", "-n", DEPLOY / "backlot-command"], check=False).returncode == 0
