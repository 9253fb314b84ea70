"""`backlot-client` as people and scripts run it."""

import json
import os
import pty
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.cutting_proxy import cutting_proxy
from tests.support.faults import locked
from tests.support.files import models_file
from tests.support.server import Server, StartServer, wait_for

MARBLE = ("generate", "--scene-type", "marble", "--mood", "warm")


def environment(server: Server) -> dict[str, str]:
    return {**os.environ, "BACKLOT_URL": server.url, "BACKLOT_KEY": server.key}


def run(server: Server, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "backlot_client", *arguments],
        env={**environment(server), **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_generate_writes_pictures_and_prints_their_paths(tiny_server: Server, tmp_path: Path) -> None:
    spent = tiny_server.credits()["spent"]
    done = run(
        tiny_server,
        *MARBLE,
        "--color",
        "navy",
        "--color",
        "#fff",
        "--seed",
        "7",
        "-n",
        "3",
        "-o",
        str(tmp_path / "out"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert sorted(path.name for path in paths) == ["marble-warm-7.png", "marble-warm-8.png", "marble-warm-9.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert tiny_server.credits()["spent"] == spent + 15
    job = tiny_server.client.get("/v1/jobs", params={"limit": 1}).json()["jobs"][0]["public_id"]
    assert tiny_server.job(job)["request"]["dominant_colors"] == ["navy", "#fff"]


def test_generate_as_json_never_writes_over_a_file(tiny_server: Server, tmp_path: Path) -> None:
    (tmp_path / "same.png").write_text("mine")
    done = run(tiny_server, *MARBLE, "-n", "2", "-o", str(tmp_path), "--file-name", "same", "--json")
    found = json.loads(done.stdout)
    assert [set(picture) for picture in found] == [{"job_id", "credits_cost", "files", "seed", "error"}] * 2
    assert sorted(file for picture in found for file in picture["files"]) == [
        str(tmp_path / f"same-{n}.png") for n in (2, 3)
    ]
    assert (tmp_path / "same.png").read_text() == "mine"


def test_generate_tells_what_went_wrong(tiny_server: Server, tmp_path: Path) -> None:
    failed = run(tiny_server, *MARBLE, "--image-model", "nan", "-o", str(tmp_path), "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)[0]["error"]["code"] == "nan_latents"
    refused = run(tiny_server, *MARBLE, "--color", "bluish", "-o", str(tmp_path))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "marble, warm: dominant_colors.0: 'bluish' is not a colour" in refused.stderr
    unnamed = run(tiny_server, *MARBLE, "-o", str(tmp_path), "--file-name", "{shot}")
    assert (unnamed.returncode, unnamed.stdout) == (1, "")
    assert "uses 'shot'" in unnamed.stderr


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_paid(tiny_server: Server, tmp_path: Path) -> None:
    spent = tiny_server.credits()["spent"]
    (tmp_path / "out").write_text("a file")
    done = run(tiny_server, *MARBLE, "-o", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("backlot-client: [Errno ")
    assert tiny_server.credits()["spent"] == spent


def test_a_file_that_cannot_be_written_hides_no_other_picture(tiny_server: Server, tmp_path: Path) -> None:
    (tmp_path / "7").write_text("a file where a folder should be")
    order = (*MARBLE, "-n", "2", "--seed", "7", "-o", str(tmp_path), "--file-name", "{seed}/a.png")
    done = run(tiny_server, *order, "--json")
    assert done.returncode == 1
    bad, good = json.loads(done.stdout)
    assert bad["error"]["code"] == "CLIENT_ERROR"
    assert tiny_server.job(bad["job_id"])["status"] == "SUCCESS"
    assert (good["files"], good["error"]) == ([str(tmp_path / "8" / "a.png")], None)
    told = run(tiny_server, *order)
    assert (told.returncode, told.stdout) == (1, f"{tmp_path / '8' / 'a-2.png'}\n")
    assert "marble, warm #1: [Errno " in told.stderr
    job = told.stderr.rpartition("its job is ")[2].strip()
    assert tiny_server.job(job)["request"]["seed"] == 7


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"BACKLOT_KEY": ""}, "There is no key; set BACKLOT_KEY"),
        ({"BACKLOT_KEY": "sk_live_nobody"}, "This key is unknown"),
        ({"BACKLOT_KEY": "sk_live_\n"}, "The key has characters that no key has"),
        ({"BACKLOT_URL": "box:8700"}, "'box:8700' is no address"),
        ({"BACKLOT_URL": "http://127.0.0.1:1"}, "No answer from http://127.0.0.1:1/v1/credits"),
    ],
)
def test_settings_that_do_not_work(tiny_server: Server, settings: dict[str, str], told: str) -> None:
    done = run(tiny_server, "credits", **settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"backlot-client: {told}")
    error = json.loads(run(tiny_server, "--json", "credits", **settings).stdout)["error"]
    assert error["message"].startswith(told)
    assert set(error) == {"code", "message", "request_id"}


def test_options_come_before_settings_on_either_side_of_the_command(tiny_server: Server) -> None:
    nowhere = {"BACKLOT_URL": "http://127.0.0.1:1", "BACKLOT_KEY": "sk_live_nobody"}
    options = ("--url", tiny_server.url, "--key", tiny_server.key)
    for arguments in [(*options, "credits", "--json"), ("credits", "--json", *options)]:
        assert json.loads(run(tiny_server, *arguments, **nowhere).stdout) == tiny_server.credits()


def test_version(tiny_server: Server) -> None:
    done = run(tiny_server, "--version")
    assert (done.returncode, done.stdout) == (0, f"{version('backlot-client')}\n")


def test_small_commands(tiny_server: Server) -> None:
    job_id = tiny_server.submit()
    tiny_server.finished(job_id)
    assert job_id in run(tiny_server, "jobs").stdout
    assert (
        json.loads(run(tiny_server, "jobs", "--status", "SUCCESS", "--limit", "1", "--json").stdout)[0]["public_id"]
        == job_id
    )
    models = run(tiny_server, "models").stdout
    assert models.splitlines()[1].split() == ["good", "yes", "0.5K", "3", "yes", "made", "for", "tests"]
    assert json.loads(run(tiny_server, "models", "--json").stdout)[0]["name"] == "good"
    assert "Warm marble" in run(tiny_server, "catalog", "--limit", "1").stdout
    entry = json.loads(run(tiny_server, "catalog", "--limit", "1", "--json").stdout)[0]
    assert entry["generation_job_public_id"] == job_id
    assert run(tiny_server, "credits").stdout.startswith(str(tiny_server.credits()["balance"]))
    done = run(tiny_server, "cancel", job_id)
    assert (done.returncode, "JOB_NOT_CANCELLABLE" in done.stderr) == (1, True)


@pytest.fixture(scope="module")
def slow_server(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """Start a server whose jobs have hundreds of steps and run one at a time."""
    models = models_file(
        tmp_path_factory.mktemp("toml") / "models.toml", {"good": tiny_folders["good"]}, steps=500, max_batch=1
    )
    return start_server(models)


def test_interrupted_generations_are_cancelled_and_refunded(slow_server: Server, tmp_path: Path) -> None:
    balance, images = slow_server.credits()["balance"], 8
    process = subprocess.Popen(
        [sys.executable, "-m", "backlot_client", *MARBLE, "-n", str(images), "-o", str(tmp_path)],
        env=environment(slow_server),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: slow_server.credits()["balance"] == balance - 5 * images)
    wait_for(lambda: "IN_PROGRESS" in statuses(slow_server))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    cancelled = [line for line in errors.splitlines() if line.endswith(": cancelled, its credits are back")]
    # The first jobs may have been finished by then.
    assert cancelled
    wait_for(lambda: slow_server.credits()["balance"] == balance - 5 * (images - len(cancelled)))
    assert len(list(tmp_path.glob("*.png"))) == images - len(cancelled)


@pytest.mark.parametrize("answered", [True, False])
def test_an_interruption_loses_no_job_whose_submission_is_under_way(
    slow_server: Server, tmp_path: Path, answered: bool
) -> None:
    balance, images = slow_server.credits()["balance"], 3
    with cutting_proxy(slow_server.url, held=b"POST /v1/background-generator") as proxy:
        process = subprocess.Popen(
            [sys.executable, "-m", "backlot_client", *MARBLE, "-n", str(images), "-o", str(tmp_path)],
            env={**environment(slow_server), "BACKLOT_URL": proxy.url},
            stderr=subprocess.PIPE,
            text=True,
        )
        # All of them are paid for, and the client does not know of any.
        wait_for(lambda: slow_server.credits()["balance"] == balance - 5 * images)
        process.send_signal(signal.SIGINT)
        if answered:
            proxy.release.set()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    told = ": cancelled, its credits are back" if answered else "; `backlot-client jobs` shows it if so"
    assert [line.endswith(told) for line in errors.splitlines() if line.startswith("marble")] == [True] * images
    if answered:
        wait_for(lambda: slow_server.credits()["balance"] == balance)


def statuses(server: Server) -> list[str]:
    return sorted(job["status"] for job in server.client.get("/v1/jobs").json()["jobs"])


def test_cancel(slow_server: Server) -> None:
    job_id = slow_server.submit()
    done = json.loads(run(slow_server, "cancel", job_id, "--json").stdout)
    assert [job["public_id"] for job in done] == [job_id]
    assert slow_server.finished(job_id)["latest_event"]["extra"]["reason"] == "cancelled"


def test_cancel_goes_on_after_a_refusal(slow_server: Server) -> None:
    first, last = slow_server.submit(), slow_server.submit()
    done = run(slow_server, "cancel", last, "01ARZ3NDEKTSV4RRFFQ69G5FAV", first)
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == [last, first]
    assert done.stderr.startswith("01ARZ3NDEKTSV4RRFFQ69G5FAV: There is no job")
    reasons = [slow_server.finished(job_id)["latest_event"]["extra"]["reason"] for job_id in (first, last)]
    assert reasons == ["cancelled"] * 2


def test_an_interruption_tells_of_a_cancel_whose_refund_is_still_to_come(light_server: Server, tmp_path: Path) -> None:
    balance = light_server.credits()["balance"]
    order = ("generate", "--scene-type", "endless", "--mood", "warm", "-o", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-m", "backlot_client", *order],
        env=environment(light_server),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: "IN_PROGRESS" in statuses(light_server))
    with locked(light_server.data / "backlot.db"):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.startswith("endless, warm: its cancellation met an error: The job is cancelled, but ")
    wait_for(lambda: light_server.credits()["balance"] == balance)


def test_a_terminal_shows_a_live_bar_for_each_picture(tiny_server: Server, tmp_path: Path) -> None:
    shown = on_a_terminal(tiny_server, *MARBLE, "-n", "2", "--seed", "1", "-o", str(tmp_path))
    for part in ("marble, warm #1", "marble, warm #2", "done", "marble-warm-1.png"):
        assert part in shown


def test_text_from_outside_does_not_steer_the_terminal(tiny_server: Server, tmp_path: Path) -> None:
    shown = on_a_terminal(
        tiny_server, "generate", "--scene-type", "a\x1b[2Jb", "--mood", "[red]x[/red]", "-o", str(tmp_path)
    )
    assert "\x1b[2J" not in shown
    assert "[red]x" in shown


def on_a_terminal(server: Server, *arguments: str) -> str:
    """Return what the command writes to a terminal of a hundred columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "backlot_client", *arguments],
        env={**environment(server), "COLUMNS": "100", "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(60) == 0, shown
    return shown.decode()


@pytest.mark.parametrize(
    ("arguments", "settings", "status", "told"),
    [
        (["credits"], {"BACKLOT_URL": "http://[x"}, 1, "'http://[x' is no address of a server"),
        (["credits"], {"BACKLOT_URL": "http://x:99999"}, 1, "'http://x:99999' is no address of a server"),
        (["generate", "--scene-type", "m\udcff", "--mood", "warm", "-o", "out"], {}, 2, "is not UTF-8 text"),
        (["cancel", "\udcff"], {}, 2, "is not UTF-8 text"),
        (["generate", "--scene-type", "m", "--mood", "warm", "--dry-run", "--lora", "\udcff"], {}, 2, "is not NAME"),
        (
            ["generate", "--scene-type", "m", "--mood", "warm", "--dry-run", "--metadata", "a=\udcff"],
            {},
            2,
            "is not KEY",
        ),
    ],
)
def test_what_no_request_can_carry_is_told_in_one_line(
    tiny_server: Server, arguments: list[str], settings: dict[str, str], status: int, told: str
) -> None:
    done = run(tiny_server, *arguments, **settings)
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr
