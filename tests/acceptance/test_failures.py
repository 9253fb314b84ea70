"""Failures: broken images, crashes, hangs, restarts. Credits come back, neighbours go on, nothing is lost."""

import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.faults import frozen, out_of_memory
from tests.support.files import models_file
from tests.support.server import Server, StartServer, wait_for


def reason(job: dict[str, Any]) -> str:
    assert job["status"] == "FAILURE"
    assert job["latest_event"]["event_type"] == "failed"
    found: str = job["latest_event"]["extra"]["reason"]
    return found


def events_of(server: Server, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.client.get(f"/v1/jobs/{job_id}/events").json()["events"]
    return found


def stages(server: Server, job_id: str) -> list[str]:
    return [event["stage"] for event in events_of(server, job_id) if event["stage"]]


@pytest.mark.parametrize(
    ("model", "expected"), [("nan", "nan_latents"), ("black", "black_image"), ("flat", "flat_image")]
)
def test_an_unusable_image_fails_and_is_refunded(tiny_server: Server, model: str, expected: str) -> None:
    before = tiny_server.credits()["balance"]
    job = tiny_server.finished(tiny_server.submit(image_model=model))
    assert reason(job) == expected
    assert job["latest_event"]["extra"]["refunded"] == 5
    assert job["result"] == []
    assert tiny_server.credits()["balance"] == before


@pytest.mark.parametrize(
    ("model", "expected"), [("nan", "nan_latents"), ("black", "black_image"), ("flat", "flat_image")]
)
def test_a_flawed_image_is_delivered_where_asked(tiny_server: Server, model: str, expected: str) -> None:
    before = tiny_server.credits()["balance"]
    job = tiny_server.finished(tiny_server.submit(image_model=model, on_technical_failure="deliver", eval_enabled=True))
    assert job["status"] == "SUCCESS"
    (artifact,) = job["result"]
    assert artifact["meta"]["technical_failure"] == expected
    assert httpx.get(artifact["image_url"]).status_code == 200
    assert tiny_server.credits()["balance"] == before - 5


def test_a_retry_takes_the_next_seed_and_gives_up_in_the_end(tiny_server: Server) -> None:
    before = tiny_server.credits()["balance"]
    job_id = tiny_server.submit(image_model="black", on_technical_failure="retry", seed=41)
    job = tiny_server.finished(job_id)
    assert reason(job) == "black_image"
    assert job["latest_event"]["extra"]["attempts"] == 3
    assert [event["extra"]["seed"] for event in events_of(tiny_server, job_id) if event["stage"] == "retrying"] == [
        42,
        43,
    ]
    assert tiny_server.credits()["balance"] == before


def test_evaluation_measures_the_palette(tiny_server: Server) -> None:
    job = tiny_server.finished(tiny_server.submit(eval_enabled=True, dominant_colors=["red", "#808080"]))
    measured = job["result"][0]["meta"]["eval"]
    assert [entry["requested"] for entry in measured["palette"]] == ["#ff0000", "#808080"]
    assert all(entry["delta_e"] >= 0 and 0 < entry["share"] <= 1 for entry in measured["palette"])
    assert abs(sum(color["share"] for color in measured["dominant"]) - 1) < 0.01
    assert measured["sharpness"] > 0
    assert "evaluating" in stages(tiny_server, job["public_id"])


def test_a_moved_palette_is_in_the_image_in_meta_and_in_its_replay(tiny_server: Server, tmp_path: Path) -> None:
    wanted: dict[str, Any] = {
        "dominant_colors": ["#1f2a44", "#e8b4b8"],
        "seed": 5,
        "image_model": "exact",
        "eval_enabled": True,
    }
    prompted, steered, matched = (
        tiny_server.finished(tiny_server.submit(**wanted, palette=palette))["result"][0]
        for palette in ("prompt", "steer", "match")
    )
    assert [made["meta"]["palette"] for made in (prompted, steered, matched)] == ["prompt", "steer", "match"]
    assert steered["meta"]["colors"] == matched["meta"]["colors"] == ["#1f2a44", "#e8b4b8"]
    assert prompted["meta"]["eval"]["mean_delta_e"] > 10
    assert matched["meta"]["eval"]["mean_delta_e"] < prompted["meta"]["eval"]["mean_delta_e"] / 2
    for artifact in (prompted, steered, matched):
        image = tmp_path / f"{artifact['meta']['palette']}.png"
        image.write_bytes(httpx.get(artifact["image_url"]).content)
        assert "identical" in tiny_server.backlot("replay", str(image)).stdout


def test_cancelling_a_waiting_job(slow_server: Server) -> None:
    running, waiting = slow_server.submit(), slow_server.submit(image_model="nan")
    wait_for(lambda: slow_server.job(running)["progress"] > 0)
    before = slow_server.credits()["balance"]
    cancelled = slow_server.client.post(f"/v1/jobs/{waiting}/cancel")
    assert cancelled.status_code == 200
    assert reason(cancelled.json()) == "cancelled"
    assert slow_server.credits()["balance"] == before + 5

    cancelled = slow_server.client.post(f"/v1/jobs/{running}/cancel")
    assert reason(cancelled.json()) == "cancelled"
    assert slow_server.credits()["balance"] == before + 10
    again = slow_server.client.post(f"/v1/jobs/{running}/cancel")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "JOB_NOT_CANCELLABLE")
    assert slow_server.credits()["balance"] == before + 10


def test_a_cancelled_job_leaves_its_neighbours(slow_server: Server) -> None:
    blocker = slow_server.submit(image_model="nan")
    wait_for(lambda: slow_server.job(blocker)["status"] == "IN_PROGRESS")
    pair = [slow_server.submit(seed=seed) for seed in (1, 2)]
    slow_server.client.post(f"/v1/jobs/{blocker}/cancel")
    wait_for(lambda: slow_server.job(pair[0])["progress"] > 0)
    assert slow_server.job(pair[1])["status"] == "IN_PROGRESS", "the two did not share a batch"
    assert reason(slow_server.client.post(f"/v1/jobs/{pair[0]}/cancel").json()) == "cancelled"
    other = slow_server.finished(pair[1])
    assert other["status"] == "SUCCESS"
    assert other["result"][0]["meta"]["batch_shape"] == 2


def test_a_crash_fails_the_job_and_a_new_process_serves(slow_server: Server) -> None:
    before = slow_server.credits()["balance"]
    job_id = slow_server.submit()
    wait_for(lambda: slow_server.job(job_id)["progress"] > 0)
    killed = slow_server.gpu_process()
    os.kill(killed, signal.SIGKILL)
    assert reason(slow_server.finished(job_id)) == "worker_crashed"
    assert slow_server.credits()["balance"] == before
    wait_for(lambda: slow_server.client.get("/readyz").status_code == 200)
    assert slow_server.gpu_process() != killed
    assert slow_server.finished(slow_server.submit())["status"] == "SUCCESS"


def test_a_crash_in_company_runs_each_again_alone(slow_server: Server) -> None:
    blocker = slow_server.submit(image_model="nan")
    wait_for(lambda: slow_server.job(blocker)["status"] == "IN_PROGRESS")
    pair = [slow_server.submit(seed=seed) for seed in (1, 2)]
    slow_server.client.post(f"/v1/jobs/{blocker}/cancel")
    wait_for(lambda: slow_server.job(pair[0])["progress"] > 0)
    os.kill(slow_server.gpu_process(), signal.SIGKILL)
    for job_id in pair:
        job = slow_server.finished(job_id)
        assert job["status"] == "SUCCESS"
        assert "retrying" in stages(slow_server, job_id)
    # Isolated jobs run one after the other: one left its slot before the other's last run began.
    first, second = (events_of(slow_server, job_id) for job_id in pair)
    left = [next(e["created_at"] for e in events if e["stage"] == "decoding") for events in (first, second)]
    began = [
        next(e["created_at"] for e in reversed(events) if e["extra"].get("step") == 1) for events in (first, second)
    ]
    assert left[0] <= began[1] or left[1] <= began[0]


def test_a_job_that_crashes_every_time_fails_and_the_others_are_served(slow_server: Server) -> None:
    before = slow_server.credits()["balance"]
    culprit = slow_server.submit(seed=1, aspect_ratio="16:9")
    # One of these has another batch key and one has the same, so one of them is always sent ahead.
    others = [slow_server.submit(seed=2), slow_server.submit(seed=3, aspect_ratio="16:9")]
    crashes = 0
    while slow_server.job(culprit)["status"] != "FAILURE":
        if slow_server.job(culprit)["progress"] > 0:
            os.kill(slow_server.gpu_process(), signal.SIGKILL)
            crashes += 1
            assert crashes <= 2, "it was run again and again"
            wait_for(lambda: slow_server.job(culprit)["progress"] == 0)
    assert reason(slow_server.job(culprit)) == "worker_crashed"
    for job_id in others:
        assert slow_server.finished(job_id)["status"] == "SUCCESS"
    assert slow_server.credits()["balance"] == before - 10


def test_a_crash_is_retried_with_the_same_seed_where_asked(slow_server: Server) -> None:
    job_id = slow_server.submit(on_technical_failure="retry", seed=5)
    wait_for(lambda: slow_server.job(job_id)["progress"] > 0)
    os.kill(slow_server.gpu_process(), signal.SIGKILL)
    job = slow_server.finished(job_id)
    assert job["status"] == "SUCCESS"
    meta = job["result"][0]["meta"]
    assert (meta["seed"], meta["attempts"]) == (5, 2)


def test_a_hung_step_is_ended(slow_server: Server) -> None:
    before = slow_server.credits()["balance"]
    job_id = slow_server.submit()
    wait_for(lambda: slow_server.job(job_id)["progress"] > 0)
    with frozen(slow_server.gpu_process()):
        assert reason(slow_server.finished(job_id)) == "step_timeout"
    assert slow_server.credits()["balance"] == before
    wait_for(lambda: slow_server.client.get("/readyz").status_code == 200)


def test_a_gpu_process_without_memory_is_replaced_and_no_credit_is_lost(slow_server: Server) -> None:
    before = slow_server.credits()["balance"]
    wait_for(lambda: slow_server.client.get("/readyz").status_code == 200)
    process = slow_server.gpu_process()
    with out_of_memory(process, room=1_000_000):
        # No image before had this size, so it needs memory.
        job = slow_server.finished(slow_server.submit(aspect_ratio="21:9"))
        assert reason(job) in ("out_of_memory", "model_load_failed", "worker_crashed")
        assert slow_server.credits()["balance"] == before
        wait_for(lambda: not Path(f"/proc/{process}").exists())
    assert slow_server.finished(slow_server.submit())["status"] == "SUCCESS"


def test_http_answers_while_the_gpu_process_is_down(slow_server: Server) -> None:
    os.kill(slow_server.gpu_process(), signal.SIGKILL)
    wait_for(lambda: slow_server.client.get("/readyz").status_code == 503)
    assert slow_server.client.get("/healthz").status_code == 200
    assert slow_server.client.get("/readyz").json()["reason"]
    wait_for(lambda: slow_server.client.get("/readyz").status_code == 200)


def test_jobs_survive_a_killed_server(slow_server: Server) -> None:
    before = slow_server.credits()["balance"]
    running = slow_server.submit(seed=1)
    wait_for(lambda: slow_server.job(running)["progress"] > 0)
    waiting = slow_server.submit(seed=2, image_model="good", aspect_ratio="16:9")
    gpu = slow_server.gpu_process()
    slow_server.stop(signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{gpu}").exists())
    slow_server.start(wait_ready=False)
    for job_id in (running, waiting):
        assert slow_server.finished(job_id)["status"] == "SUCCESS"
    assert "retrying" in stages(slow_server, running)
    assert slow_server.credits()["balance"] == before - 10


def test_a_frozen_gpu_process_ends_with_its_server(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    """Check that the kernel ends a stopped GPU process, which cannot notice by itself that its parent is gone."""
    server = start_server(models_file(tmp_path / "models.toml", {"good": tiny_folders["good"]}), cold=True)
    assert server.finished(server.submit())["status"] == "SUCCESS"
    gpu = server.gpu_process()
    with frozen(gpu):
        server.stop(signal.SIGKILL)
        wait_for(lambda: not Path(f"/proc/{gpu}").exists())
    server.start()


def test_a_job_out_of_attempts_is_refunded_at_the_restart(slow_server: Server) -> None:
    before = slow_server.credits()["balance"]
    job_id = slow_server.submit()
    wait_for(lambda: slow_server.job(job_id)["status"] == "IN_PROGRESS")
    slow_server.stop(signal.SIGKILL)
    connection = sqlite3.connect(slow_server.data / "backlot.db")
    connection.execute("UPDATE jobs SET attempts = 3 WHERE public_id = ?", (job_id,))
    connection.commit()
    connection.close()
    slow_server.start(wait_ready=False)
    assert reason(slow_server.finished(job_id)) == "server_restarted"
    assert slow_server.credits()["balance"] == before


def test_a_stop_in_good_order_costs_no_attempt(slow_server: Server) -> None:
    job_id = slow_server.submit()
    wait_for(lambda: slow_server.job(job_id)["progress"] > 0)
    slow_server.stop(signal.SIGTERM)
    slow_server.start(wait_ready=False)
    job = slow_server.finished(job_id)
    assert job["status"] == "SUCCESS"
    assert job["result"][0]["meta"]["attempts"] == 1
    assert stages(slow_server, job_id).count("retrying") == 1


def test_a_second_server_on_the_same_data_refuses(slow_server: Server) -> None:
    import subprocess
    import sys

    second = subprocess.run(
        [sys.executable, "-m", "server"], env=slow_server.environment, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1
    assert "another server is running on the data folder" in second.stderr
    assert slow_server.client.get("/healthz").status_code == 200


def test_a_model_that_cannot_be_loaded(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    models = models_file(folder / "models.toml", {"good": tiny_folders["good"], "broken": folder})
    server = start_server(models)
    job = server.finished(server.submit(image_model="broken", on_technical_failure="deliver"))
    assert reason(job) == "model_load_failed"
    assert server.credits()["spent"] == server.credits()["refunded"] == 5
    assert "broken" in server.client.get("/readyz").json()["load_errors"]
    assert server.finished(server.submit())["status"] == "SUCCESS"
    server.stop()
