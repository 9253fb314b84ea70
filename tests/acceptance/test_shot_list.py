"""The programs of docs/howto/order-a-shot-list.md make each row's picture and pay for it once, whenever they are killed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT, ServerWithoutGpu

SHOTS = [f"s{number:03}" for number in range(10, 90, 10)]


def program(language: str, folder: Path) -> list[str]:
    page = (ROOT / "docs" / "howto" / "order-a-shot-list.md").read_text()
    [found] = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    file = folder / f"order.{language}"
    file.write_text(found)
    return [sys.executable if language == "python" else language, str(file), "night.csv", "out"]


@pytest.mark.parametrize("language", ["python", "bash"])
def test_a_shot_list(language: str, light_server: ServerWithoutGpu, tmp_path: Path) -> None:
    if language == "bash" and not (shutil.which("curl") and shutil.which("jq")):
        pytest.skip("there is no curl or no jq here")
    client = light_server.new_client(f"studio-{language}")
    key = client.headers["Authorization"].removeprefix("Bearer ")
    rows = [
        f"marble,warm,{'teal tan' if shot == 's010' else ''},{'7' if shot == 's020' else ''},{shot}" for shot in SHOTS
    ]
    (tmp_path / "night.csv").write_text("\r\n".join(["scene,mood,colours,seed,shot", *rows, ""]))

    def run(kill_after_s: float | None = None) -> str:
        limit = [] if kill_after_s is None else ["timeout", "-s", "KILL", str(kill_after_s)]
        environment = {**os.environ, "BACKLOT_URL": light_server.url, "BACKLOT_KEY": key}
        command = [*limit, *program(language, tmp_path)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert kill_after_s is not None or not done.stderr, done.stderr
        return done.stdout

    # A job of an earlier night that failed is ordered anew, although its key is taken.
    failed = light_server.submit(client, prompt="broken", metadata={"list": "night", "shot": "s030"})
    light_server.finished(failed, client)
    for kill_after_s in (0.4, 0.7, 1.0):
        run(kill_after_s)
    run()
    assert run().split() == ["8", "there", "before"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [f"{shot}.png" for shot in SHOTS]
    assert light_server.credits(client)["balance"] == 1000 - 5 * len(SHOTS)
    recipes = {shot: json.loads((tmp_path / "out" / f"{shot}.json").read_text()) for shot in SHOTS}
    assert recipes["s020"]["seed"] == 7
    jobs = client.get("/v1/jobs", params={"limit": 200, "expand": "result", "status": "SUCCESS"}).json()["jobs"]
    assert {job["request"]["metadata"]["shot"]: job["request"]["dominant_colors"] for job in jobs} == {
        shot: ["teal", "tan"] if shot == "s010" else [] for shot in SHOTS
    }
