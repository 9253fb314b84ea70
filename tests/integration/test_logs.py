"""The logs of the server and of the GPU processes: whatever comes from outside adds nothing but printable characters."""

import socket
import subprocess
import sys
from pathlib import Path

from tests.support.server import ROOT

_LOG = """
import logging, sys
from pathlib import Path
from server.logs import log_to
log_to(Path(sys.argv[1]), "INFO")
log = logging.getLogger("test")
evil = "\\x1b[2J\\x07\\r\\n2026-01-01 00:00:00,000 INFO server: all is well\\u202e\\x9b31m"
log.info("GET %s", evil)
log.warning(evil)
try:
    raise ValueError(evil)
except ValueError:
    log.exception("It broke")
log.info("Zoë, 工房: %d × %s", 3, "…")
"""


def test_control_characters_are_escaped_in_file_and_terminal(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _LOG, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for text in (run.stderr, (tmp_path / "server.log").read_text()):
        lines = text.splitlines()
        assert all(line.isprintable() for line in lines)
        messages = [line for line in lines if not line.startswith(" ")]
        assert [line.split(" ")[2] for line in messages[:3]] == ["INFO", "WARNING", "ERROR"]
        assert r"GET \x1b[2J\x07\r\n2026-01-01" in messages[0]
        assert "all is well" in messages[0]
        assert messages[-1].endswith("Zoë, 工房: 3 × …")
        assert "ValueError: \\x1b[2J" in text


def test_the_log_of_a_gpu_process_is_escaped_too(tmp_path: Path) -> None:
    ours, its = socket.socketpair()
    with ours, its:
        # The process cannot go on with this device, and logs why.
        run = _run_gpu_process(its, "cuda\x1b[2J\n2026", tmp_path / "gpu-process.log")
    assert run.returncode == 1
    for text in (run.stderr, (tmp_path / "gpu-process.log").read_text()):
        assert "cuda\\x1b[2J" in text
        assert all(line.isprintable() for line in text.splitlines())
        # The messages that libraries log about themselves while they are imported concern no model.
        assert "torchao" not in text
        assert "pytree" not in text


_CAST = """
import logging, torch
logging.basicConfig()
from pipelines.worker.library_logs import keep_library_logs
keep_library_logs()
from tests.support import tiny
tiny.sdxl_pipeline().vae.to(dtype=torch.float16)
logging.getLogger("diffusers.models.modeling_utils").warning("It is heard")
"""


def test_a_vae_that_is_cast_for_each_image_is_not_told_of() -> None:
    run = subprocess.run([sys.executable, "-c", _CAST], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "It is heard" in run.stderr
    assert "should be kept in float32" not in run.stderr


def test_a_gpu_process_that_can_report_to_nobody_ends_without_a_word(tmp_path: Path) -> None:
    ours, its = socket.socketpair()
    with ours, its:
        # The process's reports are refused, as if the server were gone. The end of its orders does not tell it so.
        ours.shutdown(socket.SHUT_RD)
        run = _run_gpu_process(its, "cpu", tmp_path / "gpu-process.log")
    assert run.returncode == 0
    assert "Traceback" not in run.stderr


def _run_gpu_process(pipe: socket.socket, device: str, log: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.worker", str(pipe.fileno()), device, "0", str(log)]
    return subprocess.run(command, cwd=ROOT, pass_fds=[pipe.fileno()], capture_output=True, text=True)
