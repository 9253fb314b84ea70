"""Tiers above the model's own, from the list of models to a replay."""

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.support.files import models_file
from tests.support.server import Server, StartServer, wait_for

STEPS = 20
#: The steps of `slow`, whose second pass takes some seconds.
MANY_STEPS = 400
UPSCALE = f"""
[models.good.upscale]
tiers = ["1K"]
strength = 0.25
[models.slow.upscale]
tiers = ["1K"]
strength = 0.9
steps = {MANY_STEPS}
"""
PRICES = '[operations.background-generator]\ntier_factors = { "1K" = 3 }\n'


@pytest.fixture(scope="module")
def server(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    path = tmp_path_factory.mktemp("toml") / "models.toml"
    folders = {"good": tiny_folders["good"], "slow": tiny_folders["good"]}
    models = models_file(path, folders, UPSCALE + PRICES, steps=STEPS, preview=2)
    return start_server(models)


def test_the_tier_is_offered_and_priced(server: Server) -> None:
    model, _ = server.client.get("/v1/models").json()["models"]
    assert (model["tiers"], model["default_tier"]) == (["0.5K", "1K"], "0.5K")
    prices = server.client.get("/v1/operations").json()["operations"][0]["prices"]
    assert {price["resolution"]: price["credits_cost"] for price in prices if price["model"] == "good"} == {
        "0.5K": 5,
        "1K": 15,
    }
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
    # The same image beside others has the same bytes.
    again = [server.submit(resolution="1K", aspect_ratio="16:9", seed=seed) for seed in (3, 4)]
    assert all(server.finished(other)["status"] == "SUCCESS" for other in again)
    if server.job(again[0])["result"][0]["meta"]["batch_shape"] == meta["batch_shape"]:
        [copy] = server.data.rglob(f"{again[0]}*.png")
        assert copy.read_bytes() == file.read_bytes()


def test_a_job_is_cancelled_in_its_second_pass_with_a_refund_and_no_image(server: Server) -> None:
    before = server.credits()
    entries = server.client.get("/v1/catalog/backgrounds").headers["X-Total-Count"]
    job_id = server.submit(resolution="1K", image_model="slow")
    assert server.credits()["balance"] == before["balance"] - 15

    def preview() -> dict[str, Any] | None:
        events = server.client.get(f"/v1/jobs/{job_id}/events").json()["events"]
        found = [artifact for event in events for artifact in event["artifacts"] if artifact["kind"] == "preview"]
        return next((each for each in reversed(found) if each["meta"]["step"] > STEPS), None)

    # The preview is now one of the second pass.
    wait_for(lambda: preview() is not None)
    shown = preview()
    assert shown is not None
    assert shown["meta"]["steps"] == STEPS + MANY_STEPS
    picture = Image.open(io.BytesIO(httpx.get(shown["image_url"]).content))
    assert picture.format == "WEBP"
    assert 0 < picture.width == picture.height <= 384
    answer = server.client.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status_code == 200
    job = server.finished(job_id)
    assert (job["status"], job["result"]) == ("FAILURE", [])
    extra = job["latest_event"]["extra"]
    assert (extra["reason"], extra["refunded"]) == ("cancelled", 15)
    assert STEPS < last_step(server, job_id) < STEPS + MANY_STEPS
    assert server.credits()["balance"] == before["balance"]
    assert list(server.data.rglob(f"{job_id}*.png")) == []
    assert server.client.get("/v1/catalog/backgrounds").headers["X-Total-Count"] == entries
    assert httpx.get(shown["image_url"]).status_code == 404
    # The slot that it left takes the next image.
    assert server.finished(server.submit(resolution="1K"))["status"] == "SUCCESS"


def last_step(server: Server, job_id: str) -> int:
    """Return the last step that a job's events tell."""
    events = server.client.get(f"/v1/jobs/{job_id}/events").json()["events"]
    return max(int(event["extra"]["step"]) for event in events if "step" in event["extra"])
