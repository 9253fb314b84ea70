"""`backlot jobs` beside a running server, and without one."""

import json
from pathlib import Path

import pytest

from tests.support.server import ServerWithoutGpu


@pytest.fixture
def own_server(tmp_path: Path) -> ServerWithoutGpu:
    return ServerWithoutGpu(tmp_path)


def test_jobs_are_listed_and_shown(light_server: ServerWithoutGpu) -> None:
    good, broken = light_server.submit(), light_server.submit(prompt="broken")
    for job in (good, broken):
        light_server.finished(job)
    listed = json.loads(light_server.backlot("jobs", "list", "--client", "studio", "--json").stdout)
    assert [(row["public_id"], row["status"]) for row in listed] == [(broken, "FAILURE"), (good, "SUCCESS")]
    assert (listed[0]["reason"], listed[0]["refunded"]) == ("pipeline_error", 5)
    failed = json.loads(light_server.backlot("jobs", "list", "--status", "FAILURE", "--json").stdout)
    assert [row["public_id"] for row in failed] == [broken]
    shown = light_server.backlot("jobs", "show", broken).stdout
    assert "the fake breaks as asked" in shown
    whole = json.loads(light_server.backlot("jobs", "show", good, "--json").stdout)
    assert whole["request"]["scene_type"] == "marble"
    assert [event["event_type"] for event in whole["events"] if event["event_type"] != "stage"] == [
        "queued",
        "succeeded",
    ]
    requests = json.loads(light_server.backlot("requests", "--failed", "--json").stdout)
    assert broken in [row["job_id"] for row in requests]
    unknown = light_server.backlot("jobs", "show", "nothing")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "backlot: there is no job 'nothing'; `backlot jobs list` shows them\n",
    )


def test_a_cancel_reaches_the_running_server(light_server: ServerWithoutGpu) -> None:
    balance = light_server.credits()["balance"]
    job = light_server.submit(prompt="endless")
    told = light_server.backlot("jobs", "cancel", job)
    assert told.stdout == f"{job} is cancelled; studio has 5 credits back\n"
    assert light_server.job(job)["latest_event"]["extra"] == {"reason": "cancelled", "refunded": 5}
    assert light_server.credits()["balance"] == balance
    again = light_server.backlot("jobs", "cancel", job)
    assert again.returncode == 1
    assert "has ended already, with status FAILURE" in again.stderr


def test_a_cancel_without_a_server_ends_the_job_at_once(own_server: ServerWithoutGpu) -> None:
    own_server.start(wait_ready=False)
    job = own_server.submit(prompt="endless")
    own_server.stop()
    assert own_server.backlot("jobs", "cancel", job).stdout == f"{job} is cancelled; studio has 5 credits back\n"
    own_server.start(wait_ready=False)
    assert own_server.job(job)["status"] == "FAILURE"
    assert own_server.credits()["balance"] == 1000
    own_server.stop()


def test_many_jobs_are_cancelled_at_once(own_server: ServerWithoutGpu) -> None:
    own_server.start(wait_ready=False)
    ended = own_server.submit(prompt="broken")
    own_server.finished(ended)
    endless = [own_server.submit(prompt="endless") for _ in range(3)]
    unknown = own_server.backlot("jobs", "cancel", endless[0], "0" * 26)
    assert unknown.returncode == 1
    # One id that is unknown cancels none of the others.
    assert own_server.job(endless[0])["status"] != "FAILURE"
    told = own_server.backlot("jobs", "cancel", ended, *endless)
    assert told.stdout.splitlines() == [
        f"{ended} had ended before, with status FAILURE",
        *(f"{job} is cancelled; studio has 5 credits back" for job in endless),
    ]
    assert own_server.credits()["balance"] == 1000
    waiting = [own_server.submit(prompt="endless") for _ in range(2)]
    own_server.stop()
    cancelled = json.loads(own_server.backlot("jobs", "cancel", *waiting, waiting[0], "--json").stdout)
    assert [(job["public_id"], job["reason"]) for job in cancelled] == [(job, "cancelled") for job in waiting]


def test_usage_is_summed_up(light_server: ServerWithoutGpu) -> None:
    night = light_server.new_client("night")
    job = light_server.submit(night)
    light_server.finished(job, night)
    today = light_server.job(job, night)["created_at"][:10]
    sums = {
        "jobs": 1,
        "succeeded": 1,
        "failed": 0,
        "cancelled": 0,
        "images": 1,
        "credits_spent": 5,
        "credits_refunded": 0,
    }
    of_night = ("usage", "--client", "night", "--json")
    assert json.loads(light_server.backlot(*of_night).stdout) == [{"client": "night", "day": today, **sums}]
    assert json.loads(light_server.backlot(*of_night, "--since", today, "--by", "day").stdout) == [
        {"day": today, **sums}
    ]
    assert json.loads(light_server.backlot(*of_night, "--until", today).stdout) == []
    assert json.loads(light_server.backlot(*of_night, "--since", "1d", "--until", "0d", "--by", "model").stdout) == [
        {"model": "fake", **sums}
    ]
    wrong = light_server.backlot("usage", "--since", "yesterday")
    assert wrong.returncode == 2
    assert "'yesterday' is no time" in wrong.stderr
