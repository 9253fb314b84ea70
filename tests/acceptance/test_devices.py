"""Several devices on one box, as operators and clients see them."""

from pathlib import Path

import pytest

from tests.support.files import models_file
from tests.support.server import Server, ServerWithoutGpu, StartServer, wait_for


def test_every_device_is_shown(tmp_path: Path) -> None:
    server = ServerWithoutGpu(tmp_path, BACKLOT_DEVICES="cpu,cpu")
    server.start()
    try:
        wait_for(lambda: all(d["models"] for d in server.client.get("/readyz").json()["devices"]))
        for job_id in [server.submit() for _ in range(4)]:
            assert server.finished(job_id)["status"] == "SUCCESS"
        found = server.client.get("/readyz").json()["devices"]
        assert [(device["name"], device["state"], device["reason"]) for device in found] == [
            ("cpu:0", "ready", None),
            ("cpu:1", "ready", None),
        ]
        assert sum(device["images_generated"] for device in found) == 4
        metrics = server.client.get("/metrics").text
        for device in found:
            assert f'backlot_device_up{{device="{device["name"]}"}} 1.0' in metrics
            assert f'backlot_images_in_flight{{device="{device["name"]}"}} 0.0' in metrics
            assert f'backlot_device_images_total{{device="{device["name"]}"}} {device["images_generated"]}.0' in metrics
    finally:
        server.stop()


@pytest.fixture(scope="module")
def twins(start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Start a server with two real GPU processes on the CPU, and a model that takes a while."""
    path = tmp_path_factory.mktemp("toml") / "models.toml"
    models = models_file(path, {"good": tiny_folders["good"]}, steps=150, max_batch=1, reproducible="true")
    server = start_server(models, BACKLOT_DEVICES="cpu,cpu")
    wait_for(lambda: all(d["models"] for d in server.client.get("/readyz").json()["devices"]))
    return server


def test_two_jobs_run_at_once_in_two_processes_and_give_the_same_bytes(twins: Server) -> None:
    job_ids = [twins.submit(seed=7) for _ in range(2)]

    def busy() -> list[int]:
        return [device["images_in_flight"] for device in twins.client.get("/readyz").json()["devices"]]

    wait_for(lambda: busy() == [1, 1])
    wait_for(lambda: {twins.job(job_id)["status"] for job_id in job_ids} == {"IN_PROGRESS"})
    jobs = [twins.finished(job_id) for job_id in job_ids]
    files = {(twins.data / "images" / job_id[-2:] / f"{job_id}.png").read_bytes() for job_id in job_ids}
    assert len(files) == 1, "two devices of one name gave other bytes"
    devices = twins.client.get("/readyz").json()["devices"]
    assert [device["images_generated"] for device in devices] == [1, 1]
    assert {device["device_name"] for device in devices} == {job["result"][0]["meta"]["device_name"] for job in jobs}
    assert [device["differs_from"] for device in devices] == [[], []]
    assert all(0 < device["memory_used_bytes"] < device["memory_total_bytes"] for device in devices)


def test_a_model_leaves_memory_when_nobody_uses_it_and_comes_back(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    models = models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]}, idle_unload_s=1)
    server = start_server(models)

    def in_memory() -> list[str]:
        found: list[str] = server.client.get("/readyz").json()["devices"][0]["models"]
        return found

    wait_for(lambda: in_memory() == ["good"])
    wait_for(lambda: in_memory() == [])
    assert server.client.get("/readyz").status_code == 200
    assert server.finished(server.submit())["status"] == "SUCCESS"
    wait_for(lambda: in_memory() == [])


def test_a_model_that_is_switched_off_leaves_memory(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "models.toml"
    server = start_server(models_file(path, dict.fromkeys(("good", "other"), tiny_folders["good"])))
    assert server.finished(server.submit(image_model="other"))["status"] == "SUCCESS"
    assert server.client.get("/readyz").json()["models"] == ["good", "other"]
    models_file(path, {"good": tiny_folders["good"]})
    wait_for(lambda: server.client.get("/readyz").json()["models"] == ["good"])


def test_a_device_that_is_not_there_is_left_out(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    models = models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]}, max_batch=1)
    server = start_server(models, BACKLOT_DEVICES="cuda:63,cpu")
    wait_for(lambda: server.client.get("/readyz").json()["devices"][0]["reason"] is not None)
    out, up = server.client.get("/readyz").json()["devices"]
    assert (out["name"], up["name"], up["reason"]) == ("cuda:63", "cpu", None)
    assert "the device cuda:63 is a GPU, and torch" in out["reason"]
    assert "cuda:63" in (server.data / "logs" / "server.log").read_text()
    assert server.finished(server.submit())["status"] == "SUCCESS"

    def starts() -> float:
        line = next(
            line
            for line in server.client.get("/metrics").text.splitlines()
            if line.startswith("backlot_gpu_process_starts_total")
        )
        return float(line.split()[-1])

    before = starts()
    wait_for(lambda: starts() > before)
