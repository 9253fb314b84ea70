"""Tiers above the model's own, from the list of models to a replay."""

from pathlib import Path

import pytest

from tests.support.files import models_file
from tests.support.server import Server, StartServer, wait_for

STEPS = 20
UPSCALE = '\n[models.good.upscale]\ntiers = ["1K"]\nstrength = 0.25\n'
PRICES = '[operations.background-generator]\ntier_factors = { "1K" = 3 }\n'


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    path = tmp_path_factory.mktemp("toml") / "models.toml"
    models = models_file(path, {"good": tiny_folders["good"]}, UPSCALE + PRICES, steps=STEPS, preview=2)
    return start_server(models, OMP_NUM_THREADS="1")


def test_the_tier_is_offered_and_priced(server: Server) -> None:
    [model] = server.client.get("/v1/models").json()["models"]
    assert (model["tiers"], model["default_tier"]) == (["0.5K", "1K"], "0.5K")
    prices = server.client.get("/v1/operations").json()["operations"][0]["prices"]
    assert {price["resolution"]: price["credits_cost"] for price in prices} == {"0.5K": 5, "1K": 15}
    refused = server.client.post(
        "/v1/background-generator", json={"scene_type": "marble", "mood": "warm", "resolution": "2K"}
    )
    assert refused.status_code == 422
    assert "it offers 0.5K, 1K" in refused.text


def test_an_image_is_made_in_two_passes_and_replayed(server: Server) -> None:
    job_id = server.submit(resolution="1K", aspect_ratio="16:9", seed=3)
    job = server.finished(job_id)
    [artifact] = job["result"]
    meta = artifact["meta"]
    assert (meta["width"], meta["height"], meta["steps"]) == (1344, 768, STEPS)
    assert meta["upscale"] == {"factor": 2, "strength": 0.25, "steps": 5}
    events = server.client.get(f"/v1/jobs/{job_id}/events").json()["events"]
    steps = [event["extra"] for event in events if event["stage"] == "denoising" and "step" in event["extra"]]
    assert {extra["steps"] for extra in steps} == {STEPS + 5}
    assert max(extra["step"] for extra in steps) == STEPS + 5
    [file] = server.data.rglob(f"{job_id}*.png")
    replay = server.backlot("replay", str(file))
    assert replay.returncode == 0, replay.stderr
    # Beside others its bytes are the same.
    again = [server.submit(resolution="1K", aspect_ratio="16:9", seed=seed) for seed in (3, 4)]
    assert all(server.finished(other)["status"] == "SUCCESS" for other in again)
    if server.job(again[0])["result"][0]["meta"]["batch_shape"] == meta["batch_shape"]:
        [copy] = server.data.rglob(f"{again[0]}*.png")
        assert copy.read_bytes() == file.read_bytes()


def test_a_second_pass_shows_previews_and_can_be_cancelled(server: Server) -> None:
    job_id = server.submit(resolution="1K")

    def seen() -> int:
        events = server.client.get(f"/v1/jobs/{job_id}/events").json()["events"]
        previews = [artifact for event in events for artifact in event["artifacts"] if artifact["kind"] == "preview"]
        return max((preview["meta"]["step"] for preview in previews), default=0)

    wait_for(lambda: seen() > STEPS or server.job(job_id)["status"] == "SUCCESS", 60)
    if server.job(job_id)["status"] != "SUCCESS":
        server.client.post(f"/v1/jobs/{job_id}/cancel")
        assert server.finished(job_id)["latest_event"]["extra"]["reason"] == "cancelled"
    assert server.finished(server.submit(resolution="1K"))["status"] == "SUCCESS"
