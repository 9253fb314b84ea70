"""Backups of the ledger: made while the server runs, put back while it does not."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.server import ROOT, ServerWithoutGpu


def test_a_backup_is_whole(light_server: ServerWithoutGpu, tmp_path: Path) -> None:
    light_server.finished(light_server.submit())
    target = tmp_path / "copy.db"
    assert light_server.backlot("db", "backup", str(target)).returncode == 0
    connection = sqlite3.connect(target)
    assert connection.execute("SELECT count(*) FROM jobs WHERE status = 'SUCCESS'").fetchone()[0] >= 1
    connection.close()
    assert "exists already" in light_server.backlot("db", "backup", str(target)).stderr


def test_a_backup_is_put_back_with_the_key_of_links(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    job = server.finished(server.submit())
    copy = tmp_path / "copy.db"
    assert server.backlot("db", "backup", str(copy)).returncode == 0
    later = server.submit()
    server.finished(later)
    refused = server.backlot("db", "restore", str(copy))
    assert (refused.returncode, "another server is running" in refused.stderr) == (1, True)
    server.stop()

    image = server.data / "images" / job["public_id"][-2:] / f"{job['public_id']}.png"
    away = image.rename(tmp_path / "image.png")
    (server.data / "keys" / "links.key").write_bytes(bytes(32))
    told = json.loads(server.backlot("db", "restore", str(copy), "--json").stdout)
    assert (told["images"], told["missing"]) == (1, 1)
    assert Path(told["aside"]).exists()
    away.rename(image)
    server.start(wait_ready=False)
    try:
        assert server.credits()["spent"] == 5
        assert server.client.get(f"/v1/jobs/{later}").status_code == 404
        # Nobody removes the image of a job that this ledger does not know.
        assert (server.data / "images" / later[-2:] / f"{later}.png").exists()
        link = urlsplit(job["result"][0]["image_url"])
        assert server.client.get(f"{link.path}?{link.query}").status_code == 200
        assert server.job(job["public_id"])["status"] == "SUCCESS"
    finally:
        server.stop()


def test_the_database_is_no_copy_of_itself(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    server.stop()
    refused = server.backlot("db", "restore", str(server.data / "backlot.db"))
    assert refused.returncode == 1
    assert "is the database itself; name a copy" in refused.stderr
    assert (server.data / "backlot.db").exists()


#: Writes to the ledger, and ends as a server does that is killed: what it wrote is in the log beside the database.
GRANT_AND_DIE = """
import os, sys
from pathlib import Path
from server.ledger import clients, credits
from server.ledger.connection import connect, transaction
connection = connect(Path(sys.argv[1]))
with transaction(connection):
    credits.grant(connection, clients.named(connection, "studio").id, 7)
os._exit(0)
"""

#: Runs the command with the arguments after the first two: how many files it renames before it is killed, and whether the file
#: system has hard links.
DIE_AT_RENAME = """
import os, sys
left, links = int(sys.argv.pop(1)), sys.argv.pop(1)
def hook(event, arguments):
    global left
    if event == "os.link" and links == "no links":
        raise PermissionError(1, "Operation not permitted")
    if event == "os.rename":
        left -= 1
        if left < 0:
            os._exit(9)
sys.addaudithook(hook)
from server.operator.command import main
main()
"""


@pytest.mark.parametrize("links", ["links", "no links"])
def test_a_restore_that_is_killed_leaves_one_ledger_or_the_other(tmp_path: Path, links: str) -> None:
    server = ServerWithoutGpu(tmp_path)
    database, copy = server.data / "backlot.db", tmp_path / "copy.db"

    def run(script: str, *arguments: str) -> int:
        command = [sys.executable, "-c", script, *arguments]
        return subprocess.run(command, cwd=ROOT, env=server.environment, check=False).returncode

    def balance(path: Path) -> int:
        with closing(sqlite3.connect(path)) as connection:
            return int(connection.execute("SELECT balance FROM clients").fetchone()[0])

    server.backlot("init")
    server.backlot("clients", "add", "studio", "--credits", "10")
    assert server.backlot("db", "backup", str(copy)).returncode == 0
    renames = 0
    while True:
        assert run(GRANT_AND_DIE, str(database)) == 0
        assert database.with_name("backlot.db-wal").stat().st_size > 0
        before = 10 + 7 * (renames + 1)
        if run(DIE_AT_RENAME, str(renames), links, "db", "restore", str(copy)) == 0:
            break
        assert balance(database) == before
        renames += 1
    assert renames > 0
    assert balance(database) == 10
    asides = sorted(
        path for path in server.data.glob("backlot.db.before-*") if not path.name.endswith(("-wal", "-shm"))
    )
    assert balance(asides[-1]) == before


def test_a_log_whose_database_was_removed_is_not_taken_for_the_copy_s(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    database, copy = server.data / "backlot.db", tmp_path / "copy.db"
    server.backlot("init")
    server.backlot("clients", "add", "studio", "--credits", "10")
    assert server.backlot("db", "backup", str(copy)).returncode == 0
    subprocess.run([sys.executable, "-c", GRANT_AND_DIE, str(database)], cwd=ROOT, env=server.environment, check=True)
    database.unlink()
    assert server.backlot("db", "restore", str(copy)).returncode == 0
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT balance FROM clients").fetchone() == (10,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_what_a_killed_writer_left_in_the_log_of_a_copy_is_restored_too(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    database, copy = server.data / "backlot.db", tmp_path / "copy.db"
    server.backlot("init")
    server.backlot("clients", "add", "studio", "--credits", "10")
    subprocess.run([sys.executable, "-c", GRANT_AND_DIE, str(database)], cwd=ROOT, env=server.environment, check=True)
    for end in ("", "-wal"):
        database.with_name(database.name + end).rename(copy.with_name(copy.name + end))
    assert server.backlot("db", "restore", str(copy)).returncode == 0
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT balance FROM clients").fetchone() == (17,)


def test_a_disk_without_room_for_a_copy_is_told_and_keeps_none_of_it(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path / "data")
    copy, second = tmp_path / "copy.db", tmp_path / "second.db"
    server.backlot("init")
    assert server.backlot("db", "backup", str(copy)).returncode == 0
    # Files may grow to 100 KiB, and a ledger has more.
    command = ["prlimit", "--fsize=102400", sys.executable, "-m", "server.operator.command", "db"]
    for arguments, named in ((["restore", str(copy)], server.data / "backlot.db"), (["backup", str(second)], second)):
        refused = subprocess.run(
            [*command, *arguments], cwd=ROOT, env=server.environment, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"backlot: {named} cannot be written: ")
        assert refused.stderr.endswith("has room\n")
    assert not [*server.data.glob("*.partial*"), *tmp_path.glob("second*")]


@pytest.mark.parametrize("content", [b"", b"not a ledger", b"SQLite format 3" + bytes(500)])
def test_what_is_no_backup_changes_nothing(tmp_path: Path, content: bytes) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    server.stop()
    (tmp_path / "copy.db").write_bytes(content)
    before = (server.data / "backlot.db").read_bytes()
    refused = server.backlot("db", "restore", str(tmp_path / "copy.db"))
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "copy.db is damaged" in line
    assert (server.data / "backlot.db").read_bytes() == before


def test_a_database_of_a_newer_version_is_told_in_one_line_and_left_alone(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start(wait_ready=False)
    server.stop()
    database = server.data / "backlot.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('backlot', 'm999_to_come', '')"
        )
    newer = tmp_path / "newer.db"
    shutil.copyfile(database, newer)
    commands = [
        server.backlot("clients", "grant", "studio", "5"),
        server.backlot("db", "restore", str(newer)),
        subprocess.run(
            [sys.executable, "-m", server.module], cwd=ROOT, env=server.environment, capture_output=True, text=True
        ),
    ]
    for done, file in zip(commands, (database, newer, database), strict=True):
        assert done.returncode == 1
        (line,) = done.stderr.strip().splitlines()
        assert f"{file} was used by a newer Backlot, whose m999_to_come this one does not know" in line
    assert not list(server.data.glob("*.partial*"))
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT balance FROM clients").fetchone() == (1000,)
