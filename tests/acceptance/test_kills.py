"""The GPU process and the server are killed at random moments: no job is lost, and no credit is lost or made."""

import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from PIL import Image

from pipelines.failure_reason import FailureReason
from tests.support.files import models_file
from tests.support.server import Server, StartServer, wait_for

#: Steps of the tiny model: about a second an image, so that most kills meet some.
STEPS = 60
KILLS = 8
#: What a kill may do to a job. It never does more than that.
ALLOWED = {FailureReason.WORKER_CRASHED, FailureReason.SERVER_RESTARTED}


@pytest.fixture(scope="module")
def killed_server(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    folders = {"good": tiny_folders["good"], "other": tiny_folders["good"]}
    path = tmp_path_factory.mktemp("toml") / "models.toml"
    return start_server(models_file(path, folders, steps=STEPS, max_batch=2, reproducible="true"), OMP_NUM_THREADS="1")


def submit(server: Server, rng: random.Random, seed: int) -> tuple[str, int]:
    """Submit a job of one to three images, and return its id and how many they are."""
    n = rng.randint(1, 3)
    spec = {
        "prompt": "marble warm",
        "n": n,
        "seed": seed,
        "image_model": rng.choice(["good", "good", "other"]),
        "on_technical_failure": rng.choice(["fail", "retry"]),
    }
    response = server.client.post("/v1/image-generation", json=spec)
    assert response.status_code == 202, response.text
    return response.json()["job_id"], n


@pytest.mark.slow
def test_random_kills_lose_no_job_and_no_credit(killed_server: Server) -> None:
    server, rng = killed_server, random.Random(20)
    jobs: dict[str, int] = {}
    for kill in range(KILLS):
        # All jobs have the same seed, so all their first images must be the same.
        for _ in range(2):
            job_id, n = submit(server, rng, seed=5)
            jobs[job_id] = n
        time.sleep(rng.uniform(0.2, 2.5))
        if kill % 3 == 2:
            gpu_process = server.gpu_process()
            server.stop(signal.SIGKILL)
            wait_for(lambda: not Path(f"/proc/{gpu_process}").exists(), 10)  # noqa: B023  it is waited for right here
            server.start(wait_ready=False)
        else:
            os.kill(server.gpu_process(), signal.SIGKILL)
    ended = {job_id: server.finished(job_id, timeout_s=120) for job_id in jobs}

    spent = sum(5 * n for n in jobs.values())
    refunded = sum(5 * jobs[job_id] for job_id, job in ended.items() if job["status"] == "FAILURE")
    assert server.credits() == {
        "balance": 1000 - spent + refunded,
        "granted": 1000,
        "spent": spent,
        "refunded": refunded,
    }
    reasons = {job["latest_event"]["extra"]["reason"] for job in ended.values() if job["status"] == "FAILURE"}
    assert reasons <= ALLOWED
    succeeded = {job_id: job for job_id, job in ended.items() if job["status"] == "SUCCESS"}
    assert succeeded, "no job went well, so this shows little"
    pixels = set()
    for job_id, job in succeeded.items():
        assert len(job["result"]) == jobs[job_id]
        assert [artifact["meta"]["seed"] for artifact in job["result"]] == list(range(5, 5 + jobs[job_id]))
        name = f"{job_id}.png" if jobs[job_id] == 1 else f"{job_id}-0.png"
        with Image.open(server.data / "images" / job_id[-2:] / name) as image:
            pixels.add(image.tobytes())
    assert len(pixels) == 1, "a run that was repeated gave another image"
    with sqlite3.connect(server.data / "backlot.db") as connection:
        kept = {row[0] for row in connection.execute("SELECT path FROM artifacts")}
    connection.close()
    folder = server.data / "images"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.png")} == kept
