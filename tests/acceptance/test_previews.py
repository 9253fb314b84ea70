"""Previews of images on their way, by real denoising."""

import io
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from server.settings import Settings
from tests.support.server import Server, wait_for


def previews(server: Server, job_id: str) -> list[dict[str, Any]]:
    """The previews that a job's events have now."""
    events = server.client.get(f"/v1/jobs/{job_id}/events").json()["events"]
    return [artifact for event in events for artifact in event["artifacts"] if artifact["kind"] == "preview"]


def files(server: Server) -> list[Path]:
    return list(Settings(data=server.data).previews.iterdir())


def test_a_running_job_shows_previews_until_it_ends(slow_server: Server) -> None:
    job_id = slow_server.submit(aspect_ratio="16:9")
    wait_for(lambda: len(previews(slow_server, job_id)) > 1, 60)
    first, *_, last = previews(slow_server, job_id)
    assert (last["role"], last["meta"]["steps"]) == ("intermediate", 400)
    assert 0 < first["meta"]["step"] < last["meta"]["step"] < 400
    answer = httpx.get(last["image_url"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.format == "WEBP"
    assert max(picture.size) <= 384
    assert abs(picture.width / picture.height - 16 / 9) < 0.1
    assert httpx.get(last["image_url"].replace(job_id, "0" * 26)).status_code == 403
    job = slow_server.finished(job_id)
    assert job["status"] == "SUCCESS"
    assert [artifact["role"] for artifact in job["result"]] == ["final"]
    wait_for(lambda: files(slow_server) == [], 5)
    assert httpx.get(last["image_url"]).json()["error"]["code"] == "RESOURCE_NOT_FOUND"
    assert previews(slow_server, job_id) == []
    events = slow_server.client.get("/v1/events", params={"since": 0}).json()["events"]
    assert not any(artifact["kind"] == "preview" for event in events for artifact in event["artifacts"])
    steps = [event["extra"]["step"] for event in events if event["stage"] == "denoising"]
    assert steps == sorted(steps)


def test_a_cancelled_job_leaves_no_preview(slow_server: Server) -> None:
    job_id = slow_server.submit()
    wait_for(lambda: previews(slow_server, job_id) != [], 60)
    slow_server.client.post(f"/v1/jobs/{job_id}/cancel")
    slow_server.finished(job_id)
    wait_for(lambda: files(slow_server) == [], 5)
