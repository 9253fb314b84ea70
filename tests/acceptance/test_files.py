"""Files that cannot be used: the start ends with one line that has the path and the way out, and no credit is lost later."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.server import ROOT, SPEC, ServerWithoutGpu, wait_for

#: Root may read everything; without these capabilities it is a user like any other.
AS_A_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"] if os.geteuid() == 0 else []


def a_folder(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    path.mkdir()


def a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("in the way")


def another_users(path: Path) -> None:
    os.chown(path, 12345, 12345)
    path.chmod(0o700)


def read_only(path: Path) -> None:
    path.chmod(0o500)


def damaged(path: Path) -> None:
    path.write_bytes(b"not what it was" * 1000)


def half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"\xff" * 200 + content[200 : len(content) // 2])


def a_circle(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path)


CASES: list[tuple[str, Callable[[Path], None], str]] = [
    ("backlot.db", a_folder, "move it away"),
    ("backlot.db", damaged, "restore a copy made with `backlot db backup`"),
    ("backlot.db", half, "restore a copy made with `backlot db backup`"),
    ("backlot.db", another_users, "belongs to 12345"),
    ("backlot.db", a_circle, "set BACKLOT_DATA to another folder"),
    ("server.lock", a_folder, "move it away"),
    ("server.lock", another_users, "belongs to 12345"),
    ("keys/links.key", damaged, "delete it to have a new one made"),
    ("keys/links.key", a_folder, "move it away to have a new one made"),
    ("keys/links.key", another_users, "give it to the user that runs the server"),
    ("keys", another_users, "give it to the user that runs the server"),
    ("logs", a_file, "move it away"),
    ("logs", another_users, "belongs to 12345"),
    ("logs/server.log", another_users, "belongs to 12345"),
    ("logs/server.log", a_folder, "move it away"),
    ("images", a_file, "move it away"),
    ("images", another_users, "belongs to 12345"),
    ("thumbnails", a_file, "move it away"),
    ("thumbnails", another_users, "belongs to 12345"),
    ("", another_users, "belongs to 12345"),
    ("images", read_only, "change the mode with chmod"),
]
#: The operator's commands, which read and write such files.
COMMANDS = [["clients", "list"], ["clients", "grant", "studio", "5"], ["requests"], ["db", "backup", "{tmp}/copy.db"]]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> ServerWithoutGpu:
    """Return a server that ran and was stopped."""
    server = ServerWithoutGpu(tmp_path_factory.mktemp("used"))
    server.start(wait_ready=False)
    server.finished(server.submit())
    server.stop()
    return server


@pytest.mark.parametrize(("name", "spoil", "remedy"), CASES, ids=lambda part: getattr(part, "__name__", part or "data"))
def test_a_start_tells_the_path_and_the_way_out(
    used: ServerWithoutGpu, tmp_path: Path, name: str, spoil: Callable[[Path], None], remedy: str
) -> None:
    if spoil is another_users and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    data = tmp_path / "data"
    shutil.copytree(used.data, data)
    spoil(data / name)
    started = subprocess.run(
        [*AS_A_USER, sys.executable, "-m", used.module],
        cwd=ROOT,
        env={**used.environment, "BACKLOT_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert started.returncode == 1
    (line,) = started.stderr.strip().splitlines()
    assert line.startswith("backlot: ")
    assert str(data / name) in line
    assert remedy in line


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:2]))
@pytest.mark.parametrize("spoil", [a_folder, damaged, half, another_users, a_circle], ids=lambda spoil: spoil.__name__)
def test_a_command_tells_in_one_line_what_is_wrong_with_the_database(
    used: ServerWithoutGpu, tmp_path: Path, spoil: Callable[[Path], None], arguments: list[str]
) -> None:
    if spoil is another_users and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    data = tmp_path / "data"
    shutil.copytree(used.data, data)
    spoil(data / "backlot.db")
    done = subprocess.run(
        [
            *AS_A_USER,
            sys.executable,
            "-m",
            "server.operator.command",
            *(part.format(tmp=tmp_path) for part in arguments),
        ],
        cwd=ROOT,
        env={**used.environment, "BACKLOT_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("backlot: ")
    assert str(data / "backlot.db") in line


def test_a_stop_closes_the_database_and_keeps_the_row_of_the_last_request(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    last = server.client.get("/v1/credits").headers["X-Request-Id"]
    server.stop()
    assert server.process.returncode == 0
    assert [path.name for path in server.data.glob("backlot.db*")] == ["backlot.db"]
    assert last in server.backlot("requests", "--json").stdout


def test_what_is_merely_missing_is_made_again(used: ServerWithoutGpu, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(used.data, data)
    for name in ("images", "logs", "keys"):
        shutil.rmtree(data / name)
    (data / "server.lock").unlink()
    server = ServerWithoutGpu(tmp_path, BACKLOT_DATA=str(data))
    server.data, server.key = data, used.key
    server.start(wait_ready=False)
    try:
        assert server.credits()["balance"] == 995
        old, new = server.client.get("/v1/jobs").json()["jobs"][0]["public_id"], server.submit()
        assert httpx.get(server.job(old)["result"][0]["image_url"]).json()["error"]["code"] == "RESOURCE_NOT_FOUND"
        assert httpx.get(server.finished(new)["result"][0]["image_url"]).status_code == 200
    finally:
        server.stop()


def test_folders_that_vanish_while_it_runs_cost_no_credit(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    try:
        server.finished(server.submit())
        for name in ("images", "logs", "keys"):
            shutil.rmtree(server.data / name)
        (server.data / "server.lock").unlink()
        assert server.finished(server.submit())["status"] == "SUCCESS"
        database = server.data / "backlot.db"
        for path in list(server.data.glob("backlot.db*")):
            path.rename(tmp_path / path.name)
        for _ in range(3):
            refused = server.client.post("/v1/background-generator", json=SPEC)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "DATABASE_MISSING")
        assert not database.exists()
        for path in list(tmp_path.glob("backlot.db*")):
            path.rename(server.data / path.name)
        wait_for(lambda: server.client.post("/v1/background-generator", json=SPEC).status_code == 202)
        assert server.credits()["spent"] == 15
    finally:
        server.stop()


def test_a_start_removes_what_a_killed_process_left_and_nothing_else(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    kept, failed = server.submit(), server.submit(scene_type="endless")
    server.finished(kept)
    server.client.post(f"/v1/jobs/{failed}/cancel")
    server.finished(failed)
    server.stop()
    folder = server.data / "images"
    ours = folder / kept[-2:] / f"{kept}.png"
    of_others = [
        folder / "notes.txt",
        folder / kept[-2:] / "notes.png",
        folder / kept[-2:] / f"{'0' * 24}{kept[-2:]}.png",
    ]
    left = [
        ours.with_suffix(".partial"),
        *(folder / "ZZ" / f"{failed}{end}" for end in (".png", "-1.png", "-7.partial")),
    ]
    (folder / "ZZ").mkdir(exist_ok=True)
    for path in (*of_others, *left):
        path.write_bytes(b"")
    server.start(wait_ready=False)
    try:
        wait_for(lambda: not any(path.exists() for path in left))
        assert ours.exists()
        assert all(path.exists() for path in of_others)
    finally:
        server.stop()
