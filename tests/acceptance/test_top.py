"""`backlot top`, as JSON, once and live in a terminal."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.server import ROOT, ServerWithoutGpu


@pytest.fixture(scope="module")
def admin_key(light_server: ServerWithoutGpu) -> str:
    key = light_server.backlot("keys", "add", "studio", "--capability", "admin").stdout.strip()
    light_server.environment |= {"BACKLOT_KEY": key, "BACKLOT_URL": light_server.url}
    light_server.wait_ready()
    return key


def on_terminal(server: ServerWithoutGpu, *arguments: str, until: Callable[[str], bool]) -> str:
    """Interrupt the command once `until` holds for what the terminal shows; return all that it showed, without its styles."""
    terminal, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 140, 0, 0))
    # These variables would override the terminal's size.
    environment = {key: value for key, value in server.environment.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "server.operator.command", "top", *arguments],
        cwd=ROOT,
        env={**environment, "TERM": "xterm"},
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
    )
    os.close(its_end)
    patience = threading.Timer(120, process.kill)
    patience.start()
    written, is_interrupted = b"", False
    # Read to the end, which is an error: a terminal that nobody reads would block the command.
    with contextlib.suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as screen:
        while piece := screen.read(100_000):
            written += piece
            if not is_interrupted and until(plain(written)):
                process.send_signal(signal.SIGINT)
                is_interrupted = True
    assert process.wait(60) == 0, plain(written)
    patience.cancel()
    return plain(written)


def plain(written: bytes) -> str:
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", written.decode(errors="ignore"))


def test_top_is_live(light_server: ServerWithoutGpu, admin_key: str) -> None:
    job = light_server.submit(prompt="endless", display_name="slow \x1b[31m one")
    shown = on_terminal(light_server, "--every", "0.3", until=lambda shown: shown.count("images waiting") >= 3)
    light_server.client.post(f"/v1/jobs/{job}/cancel")
    assert job in shown
    assert r"slow \x1b[31m one" in shown
    assert "cpu a fake" in shown
    light_server.finished(job)


def test_top_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path)
    server.start()
    port = server.url.rpartition(":")[2]
    server.environment |= {"BACKLOT_PORT": port, "BACKLOT_URL": server.url}
    server.environment["BACKLOT_KEY"] = server.backlot("keys", "add", "studio", "--capability", "admin").stdout.strip()
    acts: list[tuple[str, Callable[[], object]]]
    acts = [("images waiting", server.stop), ("does not answer", server.start), ("images waiting", bool)]
    seen = 0

    def until(shown: str) -> bool:
        nonlocal seen
        awaited, act = acts[0]
        if awaited in shown[seen:]:
            seen = len(shown)
            acts.pop(0)
            act()
        return not acts

    on_terminal(server, "--every", "0.3", until=until)
    server.stop()


def test_a_job_keeps_its_whole_id_on_a_narrow_terminal(light_server: ServerWithoutGpu, admin_key: str) -> None:
    job = light_server.submit(prompt="endless", display_name="A picture whose name is longer than any terminal is wide")
    light_server.environment["COLUMNS"] = "80"
    shown = light_server.backlot("top", "--once").stdout
    del light_server.environment["COLUMNS"]
    light_server.client.post(f"/v1/jobs/{job}/cancel")
    assert re.search(rf"^runs +{job}  studio  \S+ +0/1 .* A p\S*", shown, re.MULTILINE)
    assert max(map(len, shown.splitlines())) <= 80
    light_server.finished(job)


def test_top_once_and_as_json(light_server: ServerWithoutGpu, admin_key: str) -> None:
    once = light_server.backlot("top", "--once")
    assert once.returncode == 0
    assert "nothing waits and nothing runs" in once.stdout
    found = json.loads(light_server.backlot("top", "--json").stdout)
    assert [device["name"] for device in found["devices"]] == ["cpu"]
    assert found["queue"]["state"]["paused_at"] is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--url", "http://127.0.0.1:9"), "http://127.0.0.1:9 does not answer"),
        (("--key", "sk_live_nothing"), "This key is unknown"),
    ],
)
def test_what_is_wrong_is_one_line(
    light_server: ServerWithoutGpu, admin_key: str, arguments: tuple[str, ...], told: str
) -> None:
    answer = light_server.backlot("top", "--once", *arguments)
    assert answer.returncode == 1
    assert told in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
