"""A real Ray cluster of raylets on this machine: boxes that are gone, boxes that join, a server that is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.files import models_file
from tests.support.ray_cluster import RayCluster
from tests.support.server import ROOT, Server, free_port, wait_for
from tests.support.weights import bare_folder

#: An image takes some tenths of a second, so that a box can go in the middle of a batch.
STEPS = 40
#: Seconds until every box has the model in memory. Each box imports torch at the same time as the others, on the cores of one
#: machine that is perhaps busy.
UP_S = 400.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster() as found:
        for name in ("one", "two"):
            found.add(name)
        yield found


@pytest.fixture(scope="module")
def server(
    cluster: RayCluster, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("toml") / "models.toml"
    models = models_file(path, {"good": tiny_folders["good"]}, steps=STEPS, max_batch=2, reproducible="true")
    found = Server(tmp_path_factory.mktemp("data"), models, BACKLOT_RAY=cluster.address)
    found.start(wait_ready=False)
    yield found
    found.stop(signal.SIGKILL)


def models(server: Server) -> dict[str, list[str]]:
    """Return the models that each device has in memory."""
    return {device["name"]: device["models"] for device in server.client.get("/readyz").json()["devices"]}


def in_flight(server: Server, box: str) -> int:
    devices = server.client.get("/readyz").json()["devices"]
    return next((int(device["images_in_flight"]) for device in devices if device["name"] == f"{box}/cpu"), 0)


def all_are_up(server: Server, *boxes: str) -> None:
    """Wait until exactly these boxes are there, with the model in memory."""
    devices = {f"{box}/cpu" for box in boxes}
    wait_for(lambda: models(server).keys() == devices and all(models(server).values()), UP_S)


def all_succeed_with_the_same_pixels(server: Server, job_ids: list[str]) -> None:
    """Check that these jobs, which have one seed, made the same pixels on whatever box they ran."""
    pixels = set()
    for job_id in job_ids:
        job = server.finished(job_id, timeout_s=UP_S)
        assert job["status"] == "SUCCESS", job["latest_event"]
        with Image.open(server.data / "images" / job_id[-2:] / f"{job_id}.png") as image:
            pixels.add(image.tobytes())
    assert len(pixels) == 1


def told_by(module: str, *arguments: str) -> list[str]:
    """Return the lines that a module writes in a process of its own, since Ray stays in a process that joined a cluster."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=UP_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_cluster_that_cannot_be_followed_is_joined_once_it_can(cluster: RayCluster) -> None:
    assert told_by("tests.support.ray_membership", cluster.address) == [
        "the Ray cluster at BACKLOT_RAY=auto cannot be followed: Invalid address format: nowhere",
        "one/cpu two/cpu",
    ]


@pytest.mark.slow
def test_a_box_that_may_not_run_a_model_goes_on_with_others(
    cluster: RayCluster, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    no_place, taken, refused, lora_refused, *rest = told_by(
        "tests.support.ray_process", cluster.address, str(tiny_folders["good"]), str(tmp_path)
    )
    assert no_place.startswith("Ray places no actor on one: ")
    assert taken.startswith("Ray has placed no actor after 2 s: something else in the cluster may have")
    assert refused == f"this server cannot read {tmp_path}/missing of missing (No such file or directory)"
    assert lora_refused == f"this server cannot read {tmp_path}/lora of good (No such file or directory)"
    assert rest == ["a preview", "an image"]


@pytest.mark.slow
def test_boxes_come_and_go_and_nothing_is_lost(cluster: RayCluster, server: Server) -> None:
    all_are_up(server, "one", "two")
    all_succeed_with_the_same_pixels(server, [server.submit(seed=5) for _ in range(6)])
    generated = {d["name"]: d["images_generated"] for d in server.client.get("/readyz").json()["devices"]}
    assert all(generated.values()), generated

    # A box goes in the middle of a batch, and another one joins.
    job_ids = [server.submit(seed=5) for _ in range(9)]
    wait_for(lambda: in_flight(server, "two") > 0)
    cluster.kill("two")
    cluster.add("three")
    all_are_up(server, "one", "three")
    all_succeed_with_the_same_pixels(server, job_ids)
    attempts = [server.job(job_id)["result"][0]["meta"]["attempts"] for job_id in job_ids]
    assert set(attempts) == {1}, "a box that was gone cost an attempt"

    # The server is killed with images on both boxes, and started again.
    job_ids = [server.submit(seed=5) for _ in range(6)]
    time.sleep(0.5)
    server.stop(signal.SIGKILL)
    server.start(wait_ready=False)
    all_succeed_with_the_same_pixels(server, job_ids)
    assert server.credits() == {"balance": 1000 - 21 * 5, "granted": 1000, "spent": 21 * 5, "refunded": 0}
    all_are_up(server, "one", "three")

    # An orderly stop is quick.
    began = time.monotonic()
    server.stop()
    assert server.process.returncode != -signal.SIGABRT
    assert time.monotonic() - began < 20
    server.start(wait_ready=False)


@pytest.mark.slow
def test_without_the_head_of_the_cluster_the_server_answers_and_its_own_device_goes_on(
    tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    toml = models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]}, steps=STEPS, reproducible="true")
    with RayCluster() as cluster:
        cluster.add("one")
        # On a busy machine two threads would wait for each other at each step, and for the rest of the machine.
        environment = {"BACKLOT_DEVICES": "cpu", "OMP_NUM_THREADS": "1"}
        server = Server(tmp_path / "data", toml, BACKLOT_RAY=cluster.address, **environment)
        server.start(wait_ready=False)
        try:
            wait_for(lambda: set(models(server)) == {"cpu", "one/cpu"} and all(models(server).values()), UP_S)
            admin = server.client_of(server.backlot("keys", "add", "studio", "--capability", "admin").stdout.strip())
            pids = {device["name"]: device["pid"] for device in admin.get("/v1/admin/devices").json()["devices"]}
            job_ids = [server.submit(seed=5) for _ in range(4)]
            wait_for(lambda: in_flight(server, "one") > 0)
            cluster.kill_head()
            os.kill(pids["one/cpu"], signal.SIGKILL)
            all_succeed_with_the_same_pixels(server, job_ids)
            log = server.data / "logs" / "server.log"
            wait_for(
                lambda: "does not answer any more: if Ray has ended on this box, start it again" in log.read_text()
            )
        finally:
            server.stop(signal.SIGKILL)


@pytest.mark.slow
def test_a_server_that_waits_for_ray_stops_when_it_is_told_to(tmp_path: Path) -> None:
    toml = models_file(tmp_path / "models.toml", {"a": bare_folder(tmp_path / "a")})
    server = Server(tmp_path / "data", toml, BACKLOT_RAY=f"127.0.0.1:{free_port()}")
    server.start(wait_ready=False)
    wait_for(lambda: "has not answered yet" in str(server.client.get("/readyz").json()["reason"]))
    server.stop()
    assert server.process.returncode == 0
