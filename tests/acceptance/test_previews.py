"""Previews of images on their way, by real denoising."""

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from server.settings import Settings
from tests.support.files import models_file
from tests.support.server import Server, StartServer, wait_for

STEPS = 200


@pytest.fixture(scope="module")
def showing(
    start_server: StartServer, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """Start a server whose images take some seconds, and are shown every twenty steps."""
    path = tmp_path_factory.mktemp("toml") / "models.toml"
    models = models_file(path, {"good": tiny_folders["good"]}, steps=STEPS, preview=20)
    return start_server(models)


def previews(server: Server, job_id: str) -> list[dict[str, Any]]:
    """Return the previews that a job's events have now."""
    events = server.client.get(f"/v1/jobs/{job_id}/events").json()["events"]
    return [artifact for event in events for artifact in event["artifacts"] if artifact["kind"] == "preview"]


def files(server: Server) -> list[Path]:
    return list(Settings(data=server.data).previews.iterdir())


def test_a_running_job_shows_previews_until_it_ends(showing: Server) -> None:
    job_id = showing.submit(aspect_ratio="16:9")
    wait_for(lambda: len(previews(showing, job_id)) > 1)
    first, *_, last = previews(showing, job_id)
    assert (last["role"], last["meta"]["steps"]) == ("intermediate", STEPS)
    assert first["meta"]["step"] < last["meta"]["step"]
    assert first["meta"]["step"] % 20 == last["meta"]["step"] % 20 == 0
    answer = httpx.get(last["image_url"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.format == "WEBP"
    assert max(picture.size) <= 384
    assert abs(picture.width / picture.height - 16 / 9) < 0.1
    assert httpx.get(last["image_url"].replace(job_id, "0" * 26)).status_code == 403
    job = showing.finished(job_id)
    assert job["status"] == "SUCCESS"
    assert [artifact["role"] for artifact in job["result"]] == ["final"]
    wait_for(lambda: files(showing) == [])
    assert httpx.get(last["image_url"]).json()["error"]["code"] == "RESOURCE_NOT_FOUND"
    assert previews(showing, job_id) == []
    events = showing.client.get("/v1/events", params={"since": 0}).json()["events"]
    assert not any(artifact["kind"] == "preview" for event in events for artifact in event["artifacts"])
    steps = [event["extra"]["step"] for event in events if event["stage"] == "denoising"]
    assert steps == sorted(steps)


def test_a_cancelled_job_leaves_no_preview(showing: Server) -> None:
    job_id = showing.submit()
    wait_for(lambda: previews(showing, job_id) != [])
    showing.client.post(f"/v1/jobs/{job_id}/cancel")
    showing.finished(job_id)
    wait_for(lambda: files(showing) == [])
