"""The client that a server offers at /client/ works once it is installed, without any package index."""

import subprocess
import sys
from pathlib import Path

import httpx

from tests.support.server import ServerWithoutGpu


def test_the_client_installs_from_the_server_alone(light_server: ServerWithoutGpu, tmp_path: Path) -> None:
    page = httpx.get(f"{light_server.url}/client/")
    assert page.headers["Content-Type"].startswith("text/html")
    [line] = [line for line in page.text.splitlines() if "--no-index" in line]
    command = line.removeprefix("<pre>").removesuffix("</pre>").split()
    assert command[:2] == ["pip", "install"]
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    isolated = {"PATH": str(tmp_path / "venv" / "bin"), "HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}
    subprocess.run(command, env=isolated, check=True, capture_output=True)
    own = {**isolated, "BACKLOT_URL": light_server.url, "BACKLOT_KEY": light_server.key}
    done = subprocess.run(["backlot-client", "credits"], env=own, check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"{light_server.credits()['balance']} (granted")


def test_wheels_and_nothing_else(light_server: ServerWithoutGpu) -> None:
    page = light_server.client.get("/client").text
    [name] = [part for part in page.split('"') if part.endswith("-py3-none-any.whl") and "/backlot_client-" in part]
    wheel = httpx.get(name)
    assert wheel.content.startswith(b"PK")
    assert httpx.head(name).headers["Content-Length"] == str(len(wheel.content))
    for path in ("/client/.state", "/client/..%2f..%2fpyvenv.cfg", "/client/nothing.whl"):
        missing = httpx.get(f"{light_server.url}{path}")
        assert (missing.status_code, missing.json()["error"]["code"]) in {
            (404, "RESOURCE_NOT_FOUND"),
            (404, "NOT_FOUND"),
        }


def test_behind_a_path_the_lines_name_that_path(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path, BACKLOT_PUBLIC_URL="https://studio.example/backlot")
    server.start(wait_ready=False)
    try:
        page = server.client.get("/client/").text
        assert "--find-links https://studio.example/backlot/client/ backlot-client" in page
        assert "--trusted-host" not in page
    finally:
        server.stop()
