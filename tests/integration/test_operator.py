"""The operator's command, called as a script would."""

import fcntl
import json
import os
import pty
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import termios
from contextlib import closing
from pathlib import Path

import pytest
import sqlite_utils

from server.keys import new_client
from server.ledger.connection import connect, transaction
from server.ledger.migrations import migrations
from tests.support.files import models_file
from tests.support.server import ROOT, Server, StartServer, wait_for


def test_clients(tiny_server: Server) -> None:
    made = tiny_server.backlot("clients", "add", "colour-desk", "--credits", "12")
    key = made.stdout.strip()
    assert key.startswith("sk_live_")
    assert len(key.removeprefix("sk_live_")) == 32
    assert made.stdout == f"{key}\n"
    twice = tiny_server.backlot("clients", "add", "colour-desk")
    assert twice.returncode == 1
    assert "there is a client 'colour-desk' already" in twice.stderr
    assert tiny_server.backlot("clients", "grant", "colour-desk", "8").stdout == "colour-desk has 20 credits\n"
    assert tiny_server.client_of(key).get("/v1/credits").json()["balance"] == 20
    listed = {row["name"]: row for row in json.loads(tiny_server.backlot("clients", "list", "--json").stdout)}
    assert (listed["colour-desk"]["balance"], listed["colour-desk"]["test"]) == (20, False)
    assert "colour-desk" in tiny_server.backlot("clients", "list").stdout
    assert tiny_server.backlot("clients", "grant", "nobody", "8").returncode == 1
    assert tiny_server.backlot("clients", "grant", "colour-desk", "0").returncode == 2


def test_a_grant_that_is_run_again_is_made_once(tiny_server: Server) -> None:
    tiny_server.new_client("monthly", 5)

    def grant(credits: str, once: str) -> str:
        done = tiny_server.backlot("clients", "grant", "monthly", credits, "--once", once)
        return done.stdout or done.stderr

    assert [grant("10", "november") for _ in range(2)] == ["monthly has 15 credits\n"] * 2
    assert "--once november was given with another grant to monthly" in grant("11", "november")
    assert grant("10", "december") == "monthly has 25 credits\n"
    assert "the KEY is empty" in grant("10", "")


def test_a_renamed_client_keeps_what_it_has(tiny_server: Server) -> None:
    client = tiny_server.new_client("grading", 10)
    job = tiny_server.submit(client)
    done = tiny_server.backlot("clients", "rename", "grading", "finishing", "--json")
    assert json.loads(done.stdout) == {"name": "finishing", "was": "grading"}
    assert client.get("/v1/credits").json()["balance"] == 5
    tiny_server.finished(job, client)
    jobs = json.loads(tiny_server.backlot("jobs", "list", "--client", "finishing", "--json").stdout)
    assert [row["public_id"] for row in jobs] == [job]
    # The old name is free, and the new one is taken.
    assert tiny_server.backlot("clients", "add", "grading").returncode == 0
    taken = tiny_server.backlot("clients", "rename", "grading", "finishing")
    assert (taken.returncode, "there is a client 'finishing' already" in taken.stderr) == (1, True)
    assert tiny_server.backlot("clients", "rename", "nobody", "x").returncode == 1
    assert tiny_server.backlot("clients", "rename", "grading", "a/b").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["clients", "add", ""], "a name needs at least one character"),
        (["clients", "add", "night/day"], "write 'night-day'"),
        (["clients", "add", "x", "--credits", "abc"], "'abc' is not a whole number from 0 to"),
        (["clients", "grant", "studio", "99999999999999999999"], "is not a whole number from -"),
        (["requests", "--limit", "-1"], "'-1' is not a whole number from 1 to"),
        (["db", "backup", "/nowhere/x.db"], "there is no folder /nowhere"),
        (["db", "backup", ""], "no file is named"),
        (["db", "backup", "b" * 300], "cannot be made: File name too long"),
        (["db", "backup", "/proc/x.db"], "there is no folder /proc"),
        (["clients", "add", "x", "--credits", "9" * 5000], "is not a whole number from 0 to"),
        (["clients", "grant", "studio", "5", "--note", "n" * 201], "it has 201 characters; it may have 200"),
        (["clients", "grant", "studio", "5", "--note", "\udcff"], "is not UTF-8 text"),
        (["keys", "add", "studio", "--label", "\udcff"], "is not UTF-8 text"),
        (["jobs", "show", "\udcff"], "there is no job"),
        (["jobs", "cancel", "\udcff"], "is no id"),
        (["jobs", "list", "--client", "nobody"], "there is no client 'nobody'"),
        (["requests", "--client", "nobody"], "there is no client 'nobody'"),
        (["webhooks", "resend", "\udcff"], "is no id"),
        (["top", "--once", "--key", "schlüssel"], "the key has characters that no key has"),
    ],
)
def test_wrong_arguments_are_told(tiny_server: Server, arguments: list[str], told: str) -> None:
    answer = tiny_server.backlot(*arguments)
    assert answer.returncode != 0
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr


def test_only_a_hash_of_a_key_is_kept(tiny_server: Server) -> None:
    key = tiny_server.backlot("clients", "add", "secretive").stdout.strip()
    for path in (*tiny_server.data.glob("backlot.db*"), *tiny_server.data.glob("logs/*")):
        assert key.encode() not in path.read_bytes()


def test_control_characters_of_a_name_are_never_printed(tiny_server: Server) -> None:
    name = "bell\x07 \x1b]0;title\x9b2J"
    with closing(connect(tiny_server.data / "backlot.db")) as ledger, transaction(ledger):
        # Earlier versions allowed this name.
        new_client(ledger, name, 0, test=False)
    for command in (
        ["clients", "list"],
        ["keys", "list"],
        ["clients", "list", "--json"],
        ["clients", "grant", name, "1"],
    ):
        printed = tiny_server.backlot(*command).stdout
        assert "bell" in printed
        assert printed.replace("\n", "").isprintable()
    listed = json.loads(tiny_server.backlot("clients", "list", "--json").stdout)
    assert name in [row["name"] for row in listed]
    again = tiny_server.backlot("clients", "add", name)
    assert again.returncode == 2
    assert again.stderr.replace("\n", "").isprintable()


def on_terminal(server: Server, columns: int, *arguments: str) -> list[str]:
    """Return the lines that the command prints on a terminal of this many columns, without their styles."""
    terminal, its_end = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [sys.executable, "-m", "server.operator.command", *arguments]
    environment = {key: value for key, value in server.environment.items() if key not in ("COLUMNS", "LINES")}
    subprocess.run(command, cwd=ROOT, env={**environment, "TERM": "xterm"}, stdout=its_end, check=True)
    os.close(its_end)
    printed = os.read(terminal, 1_000_000).decode()
    os.close(terminal)
    return re.sub(r"\x1b\[\d*m", "", printed).splitlines()


def test_a_table_is_told_one_field_a_line_where_it_does_not_fit(tiny_server: Server) -> None:
    tiny_server.client.get("/v1/credits")
    wide = on_terminal(tiny_server, 300, "requests", "--limit", "1")
    assert wide[0].split()[:3] == ["id", "created_at", "client"]
    assert len(wide) == 2
    narrow = dict(line.split(maxsplit=1) for line in on_terminal(tiny_server, 60, "requests", "--limit", "1"))
    assert (narrow["client"], narrow["route"], narrow["status"]) == ("studio", "/v1/credits", "200")


def test_a_reader_that_has_read_enough_is_no_error(tiny_server: Server) -> None:
    command = [sys.executable, "-m", "server.operator.command", "models", "list"]
    unread, its_end = os.pipe()
    os.close(unread)
    done = subprocess.run(command, cwd=ROOT, env=tiny_server.environment, stdout=its_end, stderr=subprocess.PIPE)
    os.close(its_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_revoking_all_keys_of_a_client(tiny_server: Server) -> None:
    client = tiny_server.new_client("gone")
    assert json.loads(tiny_server.backlot("keys", "revoke", "gone", "--json").stdout) == {"revoked": 1}
    assert client.get("/v1/credits").status_code == 401
    again = tiny_server.backlot("keys", "revoke", "gone")
    assert again.returncode == 1
    assert "no key to revoke" in again.stderr


def test_a_key_with_priority(tiny_server: Server) -> None:
    key = tiny_server.backlot("keys", "add", "studio", "--priority", "2").stdout.strip()
    listed = {row["key"]: row for row in json.loads(tiny_server.backlot("keys", "list", "--json").stdout)}
    assert listed[key[:14]]["priority"] == 2
    job = tiny_server.finished(tiny_server.submit(tiny_server.client_of(key)))
    connection = sqlite3.connect(tiny_server.data / "backlot.db")
    row = connection.execute("SELECT priority FROM jobs WHERE public_id = ?", (job["public_id"],)).fetchone()
    connection.close()
    assert row == (2,)


def test_models(tiny_server: Server, tmp_path: Path) -> None:
    listed = {row["name"]: row for row in json.loads(tiny_server.backlot("models", "list", "--json").stdout)}
    assert listed["good"]["default"] is True
    checked = tiny_server.backlot("models", "check")
    assert checked.returncode == 0
    assert "good: about " in checked.stdout
    assert " MiB of weights (unet " in checked.stdout
    bad = tmp_path / "models.toml"
    bad.write_text("default_model = 1")
    tiny_server.environment["BACKLOT_MODELS"], good = str(bad), tiny_server.environment["BACKLOT_MODELS"]
    told = tiny_server.backlot("models", "check")
    as_json = tiny_server.backlot("models", "check", "--json")
    tiny_server.environment["BACKLOT_MODELS"] = good
    assert told.returncode == as_json.returncode == 1
    assert "default_model = 1" in told.stderr
    assert json.loads(as_json.stdout)["ok"] is False


def test_a_model_is_loaded_to_check_it(tiny_server: Server, tmp_path: Path) -> None:
    good = tiny_server.backlot("models", "check", "--load", "good", "--json")
    assert good.returncode == 0, good.stderr
    answer = json.loads(good.stdout)
    revision = answer["loaded"]["revision"]
    assert len(answer["enabled"]) > 1
    assert list(answer["memory"]) == ["good"]
    estimated = answer["memory"]["good"]["weight_bytes"]
    assert set(estimated) == {"unet", "vae", "text_encoder"}
    assert sum(estimated.values()) == pytest.approx(answer["loaded"]["weight_bytes"], rel=0.02)
    job = tiny_server.finished(tiny_server.submit())
    assert job["result"][0]["meta"]["model_revision"] == revision
    unknown = tiny_server.backlot("models", "check", "--load", "goood")
    assert "did you mean 'good'?" in unknown.stderr
    assert unknown.returncode == 1


def test_changed_files_are_taken_up_by_reload(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_folders["good"], tmp_path / "m")
    server = start_server(models_file(tmp_path / "models.toml", {"m": folder}))
    before = server.finished(server.submit(seed=1))["result"][0]["meta"]
    # Other values of the same shapes are written over the file that the model was read from.
    file = "unet/diffusion_pytorch_model.safetensors"
    (folder / file).write_bytes((tiny_folders["good"] / file).read_bytes()[:-400] + bytes(400))
    unchanged = server.finished(server.submit(seed=1))["result"][0]["meta"]
    assert unchanged["model_revision"] == before["model_revision"]
    told = server.backlot("models", "reload", "m")
    assert told.returncode == 0, told.stderr
    wait_for(lambda: "m; enabled: m" in (server.data / "logs" / "server.log").read_text())
    after = server.finished(server.submit(seed=1))["result"][0]["meta"]
    assert after["model_revision"] != before["model_revision"]
    refused = server.backlot("models", "reload", "n")
    assert (refused.returncode, "Unknown model 'n'" in refused.stderr) == (1, True)
    server.stop()


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("BACKLOT_PORT", "many", "BACKLOT_PORT='many'"),
        ("BACKLOT_DEVICE", "gpu", "it takes auto, cpu, cuda"),
        ("BACKLOT_LOG_LEVEL", "loud", "it takes DEBUG, INFO"),
    ],
)
def test_settings_name_the_variable(tiny_server: Server, variable: str, value: str, told: str) -> None:
    before = tiny_server.environment.get(variable)
    tiny_server.environment[variable] = value
    answer = tiny_server.backlot("clients", "list")
    del tiny_server.environment[variable]
    if before is not None:
        tiny_server.environment[variable] = before
    assert answer.returncode == 1
    assert f"{variable}={value!r} cannot be used" in answer.stderr
    assert told in answer.stderr


def test_a_command_needs_a_ledger_and_says_which(tmp_path: Path, tiny_server: Server) -> None:
    nowhere = Server(tmp_path / "data", tmp_path / "models.toml")
    told = nowhere.backlot("clients", "add", "x")
    assert (told.returncode, told.stdout) == (1, "")
    assert f"there is no database at {tmp_path / 'data' / 'backlot.db'}" in told.stderr
    assert str(tiny_server.data) in told.stderr
    assert "backlot init" in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()
    assert nowhere.backlot("init").stdout == f"made {tmp_path / 'data' / 'backlot.db'}\n"
    made = nowhere.backlot("clients", "add", "x")
    assert made.stdout.startswith("sk_live_")
    assert f"changed {tmp_path / 'data' / 'backlot.db'}, but the server" in made.stderr
    assert json.loads(nowhere.backlot("init", "--json").stdout)["made"] is False
    assert len(json.loads(nowhere.backlot("clients", "list", "--json").stdout)) == 1
    there = tiny_server.backlot("clients", "grant", "studio", "1")
    assert there.stderr == f"backlot: changed {tiny_server.data / 'backlot.db'}\n"


def test_a_ledger_of_an_older_version_is_read_only_after_a_start(tmp_path: Path) -> None:
    database = sqlite_utils.Database(connect(tmp_path / "backlot.db"))
    migrations.apply(database, stop_before="m008_operator")
    database.conn.close()
    told = Server(tmp_path, tmp_path / "models.toml").backlot("clients", "list")
    assert told.returncode == 1
    assert "was written by an older version" in told.stderr
