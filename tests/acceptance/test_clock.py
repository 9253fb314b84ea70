"""A clock that is set while the server runs (a time server, a battery, a person) makes nobody wait."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.support.server import SPEC, ServerWithoutGpu

#: libfaketime gives the time of day that a file says, and leaves the monotonic clock alone.
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        LIBRARY is None, reason="there is no libfaketime here; Debian has it in the package libfaketime"
    ),
]

SetClock = Callable[[timedelta], None]


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[tuple[ServerWithoutGpu, SetClock]]:
    """Yield a server, and a function that sets its clock that much before or after the right time."""
    clock = tmp_path / "clock"

    def set_clock(offset: timedelta) -> None:
        clock.write_text(f"{offset.total_seconds():+.0f}")

    set_clock(timedelta())
    server = ServerWithoutGpu(
        tmp_path,
        LD_PRELOAD=str(LIBRARY),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        BACKLOT_RATE_LIMIT="50",
        BACKLOT_READ_LIMIT="500",
    )
    server.start(wait_ready=False)
    yield server, set_clock
    server.stop()


@pytest.mark.parametrize(
    "jump", [timedelta(days=-400), timedelta(hours=-2), timedelta(hours=2), timedelta(days=400)], ids=str
)
def test_a_jump_makes_nobody_wait(clocked: tuple[ServerWithoutGpu, SetClock], jump: timedelta) -> None:
    server, set_clock = clocked
    endless = server.submit(scene_type="endless")
    before = server.finished(server.submit())
    first = server.client.post("/v1/background-generator", json=SPEC, headers={"Idempotency-Key": "before"})

    set_clock(jump)
    assert (before["created_at"] < server.job(server.submit())["created_at"]) == (jump > timedelta())
    began = time.monotonic()
    # Limits: what was used up of the minute before the jump stays used up, and no more.
    answer = server.client.post("/v1/background-generator", json=SPEC)
    assert (answer.status_code, answer.headers["RateLimit-Remaining"]) == (202, "45")
    assert int(answer.headers["RateLimit-Reset"]) <= 60
    # Jobs run to their end, a wait ends, and a job can be cancelled.
    assert server.finished(answer.json()["job_id"])["status"] == "SUCCESS"
    assert server.client.get(f"/v1/jobs/{endless}", params={"wait": 0.5}).json()["status"] == "IN_PROGRESS"
    assert server.client.post(f"/v1/jobs/{endless}/cancel").json()["status"] == "FAILURE"
    # Links: a link that is read now is good now.
    assert httpx.get(server.job(before["public_id"])["result"][0]["image_url"]).status_code == 200
    # Events keep their order, usage and lists their content.
    events = server.client.get("/v1/events").json()["events"]
    assert [event["cursor"] for event in events] == sorted(event["cursor"] for event in events)
    assert sum(server.client.get("/v1/usage").json()["jobs"].values()) == 5
    assert server.client.get("/v1/jobs").json()["jobs"][0]["public_id"] == answer.json()["job_id"]
    # A repeated request gets its first answer, unless the clock jumps past the day for which that is promised.
    again = server.client.post("/v1/background-generator", json=SPEC, headers={"Idempotency-Key": "before"})
    assert (again.json()["job_id"] == first.json()["job_id"]) == (jump < timedelta(days=1))
    assert time.monotonic() - began < 10

    set_clock(timedelta())
    assert server.finished(server.submit())["status"] == "SUCCESS"
