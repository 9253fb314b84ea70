"""Models that come from a hub while the server runs: other models serve meanwhile, and a hub that fails holds nobody up."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.faults import frozen
from tests.support.hub import Hub, serving
from tests.support.server import SPEC, ServerWithoutGpu, wait_for
from tests.support.weights import bare_folder

UNET = "unet/diffusion_pytorch_model.safetensors"
CARD = '[models.m]\nhub = "org/model"\nlicence = "-"\ntiers = ["0.5K"]\nsteps = 3\nguidance = 2.0\nmultiple_of = 32\n'


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """Yield a hub whose model `org/model` takes 40 s to arrive, unless a test speeds it up."""
    with serving({"org/model": bare_folder(tmp_path / "served", parameters=100_000)}) as hub:
        hub.bytes_per_s = 10_000
        yield hub


@pytest.fixture
def server(tmp_path: Path, hub: Hub) -> Iterator[ServerWithoutGpu]:
    """Yield a server with the hub's model `m` beside those that are on the box."""
    server = ServerWithoutGpu(
        tmp_path,
        CARD,
        HF_ENDPOINT=hub.address,
        HF_HOME=str(tmp_path / "hf"),
    )
    server.start()
    yield server
    server.stop()


def downloads(server: ServerWithoutGpu) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.client.get("/readyz").json()["downloads"]
    return found


def events(server: ServerWithoutGpu, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.client.get(f"/v1/jobs/{job_id}/events").json()["events"]
    return found


def arrived(server: ServerWithoutGpu) -> int:
    """Return how many bytes of the model have arrived."""
    return max((download["bytes"] or 0 for download in downloads(server)), default=0)


def test_other_models_serve_while_one_is_downloaded(server: ServerWithoutGpu, hub: Hub) -> None:
    job_id = server.submit(image_model="m")
    wait_for(lambda: arrived(server) > 10_000)
    assert server.finished(server.submit())["status"] == "SUCCESS"
    (download,) = downloads(server)
    assert download["model"] == "m"
    assert 0 < download["bytes"] < download["total_bytes"]
    assert download["bytes_per_s"] > 0
    assert server.job(job_id)["estimated_seconds"] > 10
    assert server.client.get("/readyz").status_code == 200
    hub.bytes_per_s = 0
    job = server.finished(job_id)
    assert job["status"] == "SUCCESS"
    told = next(event for event in events(server, job_id) if event["stage"] == "loading")
    assert told["message"].startswith("Downloading m: ")
    assert told["extra"].keys() == {"model", "bytes", "total_bytes", "bytes_per_s"}
    wait_for(lambda: downloads(server) == [])
    log = (server.data / "logs" / "server.log").read_text()
    assert "Downloading m from org/model" in log
    assert "m is on this box" in log
    # The second job needs no hub.
    hub.out_of_order = 502
    assert server.finished(server.submit(image_model="m"))["status"] == "SUCCESS"


def test_a_download_ends_with_the_last_job_that_waits_for_it_and_goes_on_for_the_next(
    server: ServerWithoutGpu, hub: Hub
) -> None:
    job_id = server.submit(image_model="m")
    wait_for(lambda: arrived(server) > 10_000)
    cancelled = server.client.post(f"/v1/jobs/{job_id}/cancel")
    assert cancelled.json()["status"] == "FAILURE"
    wait_for(lambda: downloads(server) == [])
    hub.sent.clear()
    hub.bytes_per_s = 0
    assert server.finished(server.submit(image_model="m"))["status"] == "SUCCESS"
    assert all(start > 0 for name, start in hub.sent if name == UNET)


def test_a_download_ends_with_its_card(server: ServerWithoutGpu, hub: Hub) -> None:
    hub.is_silent = True
    job_id = server.submit(image_model="m")
    wait_for(lambda: downloads(server) != [])
    toml = Path(server.environment["BACKLOT_MODELS"])
    toml.write_text(toml.read_text().replace(CARD, ""))
    job = server.finished(job_id)
    assert job["latest_event"]["extra"]["reason"] == "model_removed"
    wait_for(lambda: downloads(server) == [])


def test_a_frozen_download_ends_with_its_server(server: ServerWithoutGpu) -> None:
    server.submit(image_model="m")
    wait_for(lambda: arrived(server) > 10_000)
    (process,) = psutil.Process(server.process.pid).children()
    with frozen(process.pid):
        server.stop(signal.SIGKILL)
        wait_for(lambda: not process.is_running())
    server.start()


def test_a_hub_that_refuses_is_tried_three_times_and_its_jobs_are_refunded(server: ServerWithoutGpu, hub: Hub) -> None:
    hub.out_of_order = 502
    first, second = server.submit(image_model="m"), server.submit(image_model="m")
    for job_id in (first, second):
        job = server.finished(job_id)
        assert job["latest_event"]["extra"] == {"reason": "model_load_failed", "attempts": 0, "refunded": 5}
        assert "the hub is out of order (status 502)" in job["latest_event"]["message"]
        told = [event["message"] for event in events(server, job_id) if event["stage"] == "retrying"]
        assert [message.rpartition("; ")[2] for message in told] == ["try 2 of 3 in 5 s", "try 3 of 3 in 20 s"]
    assert "status 502" in server.client.get("/readyz").json()["load_errors"]["m"]
    # A job that comes now waits for the next try; saving models.toml, as `models reload` does, makes the server try at once.
    hub.out_of_order, hub.bytes_per_s = 0, 0
    later = server.submit(image_model="m")
    assert server.backlot("models", "reload", "m").returncode == 0
    assert server.finished(later)["status"] == "SUCCESS"
    assert server.client.get("/readyz").json()["load_errors"] == {}


def test_an_edit_that_takes_a_model_away_waits_for_its_second_part(server: ServerWithoutGpu, hub: Hub) -> None:
    """Save models.toml in two parts, the first of which is valid by itself."""
    hub.is_silent = True
    waiting = server.submit(image_model="m")
    toml = Path(server.environment["BACKLOT_MODELS"])
    whole = toml.read_text()
    toml.write_text(whole.replace(CARD, ""))
    wait_for(lambda: "takes away m; it acts in 3 s" in (server.data / "logs" / "server.log").read_text())
    toml.write_text(whole)
    # This is longer than the first part alone would have waited.
    time.sleep(5)
    assert server.job(waiting)["status"] == "NOT_STARTED"
    assert "m" in [model["name"] for model in server.client.get("/v1/models").json()["models"]]


def test_a_model_that_cannot_be_steered_says_so_once_it_is_here(tmp_path: Path) -> None:
    folder = bare_folder(tmp_path / "served", scheduler="EDMEulerScheduler")
    with serving({"org/model": folder}) as hub:
        server = ServerWithoutGpu(tmp_path, CARD, HF_ENDPOINT=hub.address, HF_HOME=str(tmp_path / "hf"))
        server.start()
        try:
            assert server.finished(server.submit(image_model="m"))["status"] == "SUCCESS"
            spec = {**SPEC, "image_model": "m", "palette": "steer"}
            refused = server.client.post("/v1/background-generator", json=spec)
            assert refused.status_code == 422
            assert "how much noise EDMEulerScheduler leaves" in refused.json()["detail"][0]["msg"]
        finally:
            server.stop()
