"""`backlot-client batch` makes one picture and one charge of each row, whatever is killed and when."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from backlot_client import AsyncClient, JobEvent, Retries, Unauthorized
from backlot_client.batch.batch import Batch, Result
from backlot_client.batch.journal import Journal, Record, State
from backlot_client.batch.table import Row, read_rows
from PIL import Image

from tests.support.cutting_proxy import cutting_proxy
from tests.support.files import models_file
from tests.support.server import Server, StartServer

HEADER = "scene_type,mood,dominant_colors,seed,image_model,metadata.shot"


@pytest.fixture
def server(tiny_server: Server) -> Server:
    """Return the tiny server with a new client, whose jobs and credits are this test's alone."""
    tiny_server.client = tiny_server.new_client(f"batch-{time.monotonic_ns()}")
    tiny_server.key = tiny_server.client.headers["Authorization"].removeprefix("Bearer ")
    return tiny_server


def command(server: Server, *arguments: str, key: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, "BACKLOT_URL": server.url, "BACKLOT_KEY": key or server.key}
    return subprocess.Popen(
        [sys.executable, "-m", "backlot_client", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_batch(server: Server, table: Path, folder: Path, *options: str, key: str = "") -> tuple[int, dict[str, Any]]:
    """Return the exit status and the JSON of one run."""
    process = command(server, "batch", str(table), "-o", str(folder), "--json", *options, key=key)
    output, errors = process.communicate(timeout=600)
    assert output, errors
    answer: dict[str, Any] = json.loads(output)
    return process.returncode, answer


def states(answer: dict[str, Any]) -> list[str | None]:
    return [result["state"] for result in answer["results"]]


def write_rows(path: Path, rows: Sequence[str]) -> Path:
    path.write_text("\n".join([HEADER, *rows, ""]))
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def seed_of(path: Path) -> int:
    with Image.open(path) as image:
        image.load()
        recipe = json.loads(image.text["backlot"])  # type: ignore[attr-defined]
    return int(recipe["seed"])


def test_rows_become_pictures_and_a_second_run_does_nothing(server: Server, tmp_path: Path) -> None:
    rows = [
        "marble,warm,red navy,1,,s010",
        "wood,cool,,2,,s020",
        "wood,cool,,2,,s020",
        "sand,bright,,4,nan,s030",
        "sand,bright,mud,5,,",
    ]
    table = write_rows(tmp_path / "batch.csv", rows)
    status, answer = run_batch(server, table, tmp_path / "out")
    assert status == 1
    assert states(answer) == ["done", "done", "done", "failed", "refused"]
    assert answer["results"][3]["message"].startswith("nan_latents: ")
    assert "dominant_colors.0" in answer["results"][4]["message"]
    names = ["0001-marble-warm.png", "0002-wood-cool.png", "0003-wood-cool.png"]
    assert files_in(tmp_path / "out") == names
    assert [seed_of(tmp_path / "out" / name) for name in names] == [1, 2, 2]
    assert server.credits()["balance"] == 1000 - 15

    # The bad rows are mended, the others moved, and a file is lost: nothing is paid twice.
    (tmp_path / "out" / names[0]).unlink()
    rows = ["sand,bright,,4,,s030", *rows[:3], "sand,bright,gold,5,,"]
    write_rows(table, rows)
    status, answer = run_batch(server, table, tmp_path / "out")
    assert (status, states(answer)) == (0, ["done"] * 5)
    assert server.credits()["balance"] == 1000 - 25
    assert seed_of(tmp_path / "out" / names[0]) == 1
    assert files_in(tmp_path / "out") == sorted([*names, "0001-sand-bright.png", "0005-sand-bright.png"])
    metadata = [server.job(result["job_id"])["request"]["metadata"] for result in answer["results"]]
    assert [found.get("shot") for found in metadata] == ["s030", "s010", "s020", "s020", None]
    assert len({found["backlot_batch"] for found in metadata}) == 5


def test_json_lines_and_names_by_a_template(server: Server, tmp_path: Path) -> None:
    table = tmp_path / "batch.jsonl"
    specs = [{"scene_type": "marble", "mood": "warm", "seed": seed, "metadata": {"shot": "s/1"}} for seed in (1, 2)]
    table.write_text("\n".join(json.dumps(spec) for spec in specs))
    status, answer = run_batch(server, table, tmp_path / "out", "--file-name", "{shot}/{scene_type}.png")
    assert status == 0
    assert sorted(result["files"] for result in answer["results"]) == [["s-1/marble-2.png"], ["s-1/marble.png"]]


#: Rows with characters of two and of three bytes, as long as a spec allows.
LONG_ROWS = [f"{'я' * 200},{'背' * 200},,{seed},," for seed in (1, 2)]


def test_words_of_any_length_and_alphabet_name_a_file(server: Server, tmp_path: Path) -> None:
    table = write_rows(tmp_path / "batch.csv", LONG_ROWS)
    status, answer = run_batch(server, table, tmp_path / "out", "--file-name", "{scene_type}{mood}{scene_type}")
    assert (status, states(answer)) == (0, ["done"] * 2)
    assert len(files_in(tmp_path / "out")) == 2


def test_a_name_of_an_earlier_version_that_no_disk_takes_becomes_another(server: Server, tmp_path: Path) -> None:
    """Check that a paid row whose name no disk takes gets another name, and that a finished row keeps its name."""
    table = write_rows(tmp_path / "batch.csv", [*LONG_ROWS, "marble,warm,,3,,"])
    run_batch(server, table, tmp_path / "out")
    earlier = "a/0001-" + "я" * 80 + "-" + "背" * 80 + ".png"
    with closing(Journal(tmp_path / "out")) as journal:
        identity = read_rows(table)[0].identity
        record = msgspec.structs.replace(journal.records[identity], state=State.ACCEPTED, files=[earlier], sizes=[])
        (tmp_path / "out" / journal.records[identity].files[0]).unlink()
        journal.put(record)
    write_rows(table, [*LONG_ROWS, "marble,warm,,3,,", "wood,cool,,4,,"])
    status, answer = run_batch(server, table, tmp_path / "out")
    assert (status, states(answer)) == (0, ["done"] * 4)
    assert [seed_of(tmp_path / "out" / result["files"][0]) for result in answer["results"]] == [1, 2, 3, 4]
    assert answer["results"][2]["files"] == ["0003-marble-warm.png"]
    assert server.credits()["spent"] == 20


def test_a_file_that_was_there_before_is_left_alone(server: Server, tmp_path: Path) -> None:
    table = write_rows(tmp_path / "batch.csv", ["marble,warm,,1,,"])
    (tmp_path / "0001-marble-warm.png").write_text("someone else's")
    _, answer = run_batch(server, table, tmp_path)
    assert answer["results"][0]["files"] == ["0001-marble-warm-2.png"]
    assert (tmp_path / "0001-marble-warm.png").read_text() == "someone else's"


def test_credits_run_out(server: Server, tmp_path: Path) -> None:
    key = server.new_client(f"poor-{time.monotonic_ns()}", 12).headers["Authorization"].removeprefix("Bearer ")
    table = write_rows(tmp_path / "batch.csv", [f"marble,warm,,{seed},," for seed in range(6)])
    status, answer = run_batch(server, table, tmp_path / "out", "--at-once", "1", key=key)
    assert status == 1
    assert states(answer) == ["done", "done", "refused", None, None, None]
    assert "INSUFFICIENT_BALANCE" in answer["stopped_by"]


def test_another_clients_key_is_told_and_pays_nothing(server: Server, tmp_path: Path) -> None:
    table = write_rows(tmp_path / "batch.csv", ["marble,warm,,1,,"])
    run_batch(server, table, tmp_path / "out")
    (tmp_path / "out" / "0001-marble-warm.png").unlink()
    other = server.new_client(f"other-{time.monotonic_ns()}")
    key = other.headers["Authorization"].removeprefix("Bearer ")
    status, answer = run_batch(server, table, tmp_path / "out", key=key)
    assert status == 1
    assert "the key that" in answer["stopped_by"]
    assert server.credits(other)["spent"] == 0


def test_a_picture_that_is_gone_from_the_server(server: Server, tmp_path: Path) -> None:
    """Check that the lost picture is told and not paid for again."""
    table = write_rows(tmp_path / "batch.csv", ["marble,warm,,1,,", "marble,warm,,2,,"])
    _, answer = run_batch(server, table, tmp_path / "out")
    (tmp_path / "out" / "0001-marble-warm.png").unlink()
    (path,) = (server.data / "images").rglob(f"{answer['results'][0]['job_id']}*.png")
    path.unlink()
    status, answer = run_batch(server, table, tmp_path / "out")
    assert (status, states(answer)) == (1, ["accepted", "done"])
    assert "no longer has the picture" in answer["results"][0]["message"]
    assert server.credits()["spent"] == 10


def test_one_batch_a_folder(server: Server, tmp_path: Path) -> None:
    table = write_rows(tmp_path / "batch.csv", ["marble,warm,,1,,"])
    with closing(Journal(tmp_path / "out")):
        status, answer = run_batch(server, table, tmp_path / "out")
    assert status == 1
    assert "another batch is running" in answer["error"]["message"]
    assert server.credits()["spent"] == 0


class Silent:
    """A watcher for batches that run in this process."""

    def started(self, row: Row) -> None:
        pass

    def happened(self, row: Row, event: JobEvent) -> None:
        pass

    def ended(self, row: Row, record: Record | None) -> None:
        pass


def run_here(url: str, key: str, table: Path, folder: Path, later_s: float = 0) -> tuple[Batch, list[Result]]:
    """Run a batch once, without retries, this many seconds from now."""

    async def go() -> tuple[Batch, list[Result]]:
        async with AsyncClient(url, key, retries=Retries(total_s=0)) as client:
            batch = Batch(
                client,
                journal,
                folder,
                read_rows(table),
                template="{row}.png",
                watcher=Silent(),
                at_once=8,
                clock=lambda: time.time() + later_s,
            )
            return batch, await batch.run()

    with closing(Journal(folder)) as journal:
        return asyncio.run(go())


@pytest.mark.parametrize("hours", [1, 25])
def test_an_answer_lost_for_a_day_is_not_paid_twice(server: Server, tmp_path: Path, hours: float) -> None:
    """Check this with five submissions whose answers are lost, and two that never arrive. After a day the server has
    forgotten their keys."""
    table = write_rows(tmp_path / "batch.csv", [f"marble,warm,,{seed},," for seed in range(5)])
    with cutting_proxy(server.url, cuts=[0] * 8) as proxy:
        batch, results = run_here(proxy.url, server.key, table, tmp_path / "out")
    assert batch.obstacle is not None
    assert {result.state for result in results} == {State.SENDING}
    assert server.credits()["spent"] == 25
    with sqlite3.connect(server.data / "backlot.db") as ledger:
        if hours > 24:
            ledger.execute("DELETE FROM idempotency_keys")
    add_rows = [f"marble,warm,,{seed},," for seed in range(7)]
    run_here("http://127.0.0.1:1", server.key, write_rows(table, add_rows), tmp_path / "out")

    with cutting_proxy(server.url) as proxy:
        batch, results = run_here(proxy.url, server.key, table, tmp_path / "out", later_s=hours * 3600)
    pages = [line for line in b"".join(proxy.requests).split(b"\r\n") if line.startswith(b"GET /v1/jobs?")]
    # The first page has all five jobs, with their results; two rows have no job, so the client asks for one page more.
    assert [b"expand=result" in page for page in pages] == ([True, True] if hours > 24 else [])
    assert batch.obstacle is None
    assert [result.state for result in results] == [State.DONE] * 7
    assert [seed_of(tmp_path / "out" / f"{number + 1}.png") for number in range(7)] == list(range(7))
    assert server.credits()["spent"] == 35


def test_a_key_used_late_is_looked_for_as_late(server: Server, tmp_path: Path) -> None:
    """Check this with a first try, 21 hours ago, that never arrives, and one now that makes the job and loses its answer."""
    table = write_rows(tmp_path / "batch.csv", ["marble,warm,,1,,"])
    run_here("http://127.0.0.1:1", server.key, table, tmp_path / "out", later_s=-21 * 3600)
    with cutting_proxy(server.url, cuts=[0]) as proxy:
        run_here(proxy.url, server.key, table, tmp_path / "out")
    with sqlite3.connect(server.data / "backlot.db") as ledger:
        ledger.execute("DELETE FROM idempotency_keys")
    _, results = run_here(server.url, server.key, table, tmp_path / "out", later_s=2 * 3600)
    assert [result.state for result in results] == [State.DONE]
    assert server.credits()["spent"] == 5


def test_a_refusal_after_a_lost_answer_is_not_taken_for_nothing_paid(server: Server, tmp_path: Path) -> None:
    """Check this with a job whose answer is lost, and a next try that is refused, as with a revoked key."""
    table = write_rows(tmp_path / "batch.csv", ["marble,warm,,1,,"])
    with cutting_proxy(server.url, cuts=[0]) as proxy:
        run_here(proxy.url, server.key, table, tmp_path / "out")
    batch, results = run_here(server.url, "sk_live_revoked", table, tmp_path / "out")
    assert isinstance(batch.obstacle, Unauthorized)
    assert [result.state for result in results] == [State.REFUSED]
    _, results = run_here(server.url, server.key, table, tmp_path / "out")
    assert [result.state for result in results] == [State.DONE]
    assert server.credits()["spent"] == 5


def torment(server: Server, folder: Path, rows: int, client_kills: int, server_kills: int, seed: int) -> None:
    """Kill the client at random moments, and the server under some runs; then let it end, and count."""
    chance = random.Random(seed)
    table = write_rows(folder / "batch.csv", [f"marble,warm,,{number},," for number in range(rows)])
    out = folder / "out"
    arguments = ("batch", str(table), "-o", str(out), "--at-once", "6")
    kills_left = server_kills
    for run in range(client_kills):
        process = command(server, *arguments)
        if kills_left and run % max(1, client_kills // server_kills) == 0:
            kills_left -= 1
            time.sleep(chance.uniform(0.4, 1.5))
            server.stop(signal.SIGKILL)
            server.start()
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.2, 1.6))
        process.kill()
        process.communicate()
    assert kills_left == 0

    status, answer = run_batch(server, table, out)
    if "failed" in states(answer):
        # The server gave up a job that three kills cut short, and paid it back. The next run makes another.
        status, answer = run_batch(server, table, out)
    assert (status, states(answer)) == (0, ["done"] * rows)
    assert [seed_of(out / f"{number + 1:04}-marble-warm.png") for number in range(rows)] == list(range(rows))
    assert sorted(path.name for path in out.iterdir()) == sorted([".backlot-batch.db", *files_in(out)])
    assert len(files_in(out)) == rows
    page = server.client.get("/v1/jobs", params={"limit": 200, "expand": "result"}).json()
    assert page["total"] <= 200
    given_up = [job for job in page["jobs"] if job["status"] == "FAILURE"]
    assert all(job["latest_event"]["extra"]["reason"] == "server_restarted" for job in given_up)
    assert not given_up or server_kills >= 3
    done = [job["public_id"] for job in page["jobs"] if job["status"] == "SUCCESS"]
    assert sorted(done) == sorted(result["job_id"] for result in answer["results"])
    credits_ = server.credits()
    assert (credits_["spent"], credits_["refunded"]) == ((rows + len(given_up)) * 5, len(given_up) * 5)


def test_a_client_killed_at_random_moments(server: Server, tmp_path: Path) -> None:
    torment(server, tmp_path, rows=30, client_kills=10, server_kills=0, seed=1)


@pytest.fixture
def restartable(start_server: StartServer, tiny_folders: dict[str, Path], tmp_path: Path) -> Server:
    server = start_server(models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]}))
    server.environment["BACKLOT_PORT"] = server.url.rpartition(":")[2]
    return server


def test_a_server_killed_under_a_batch(restartable: Server, tmp_path: Path) -> None:
    torment(restartable, tmp_path, rows=30, client_kills=3, server_kills=1, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_client_and_server_killed_again_and_again(restartable: Server, tmp_path: Path, seed: int) -> None:
    torment(restartable, tmp_path, rows=150, client_kills=30, server_kills=4, seed=seed)
