"""The dashboard and the alert rules, evaluated by a real Prometheus that scrapes a real server."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import ROOT, ServerWithoutGpu, wait_for

MONITORING = ROOT / "docs" / "monitoring"
#: Metrics that exist only with a GPU, or after something went wrong that does not happen here.
NOT_HERE = ("backlot_gpu_", "backlot_refused_requests_total", "backlot_webhook_tries_total")

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None and os.environ.get("REQUIRE_PROMETHEUS") != "1",
    reason="there is no prometheus, a package of Debian; REQUIRE_PROMETHEUS=1 makes that a failure",
)


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> list[str]:
    """Return every expression of the dashboard, with the variable of its instance at its default."""
    return [target["expr"].replace("$instance", ".*") for panel in panels() for target in panel["targets"]]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Yield a Prometheus that scraped a server before and after jobs of all kinds."""
    folder = tmp_path_factory.mktemp("prometheus")
    server = ServerWithoutGpu(tmp_path_factory.mktemp("light"))
    server.start(wait_ready=False)
    port = free_port()
    config = (MONITORING / "prometheus.yml").read_text()
    config = config.replace("127.0.0.1:8700", server.url.removeprefix("http://")).replace("15s", "1s")
    (folder / "prometheus.yml").write_text(config)
    shutil.copy(MONITORING / "alerts.yml", folder)
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
    )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)
    try:
        # A rate needs two scrapes, with something between them.
        _work(server, client, ended=3)
        _work(server, client, ended=6)
        wait_for(lambda: _value(client, "sum(rate(backlot_step_seconds_count[1m])) > 0") is not None)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(20)
        server.stop()


def _work(server: ServerWithoutGpu, prometheus: httpx.Client, ended: int) -> None:
    """Have three jobs of all kinds end, and wait until Prometheus knows how many ended so far."""
    test = server.backlot("keys", "add", "studio", "--priority", "2").stdout.strip()
    jobs = [server.submit(), server.submit(prompt="broken"), server.submit(server.client_of(test))]
    for job in jobs:
        server.finished(job)
    wait_for(lambda: _value(prometheus, "sum(backlot_jobs_ended_total)") == str(ended))


def _value(client: httpx.Client, expression: str) -> str | None:
    try:
        result = query(client, expression)
    except httpx.TransportError:
        return None
    return str(result[0]["value"][1]) if result else None


def query(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", f"{expression}: {answer}"
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def test_every_panel_shows_something(prometheus: httpx.Client) -> None:
    silent = [
        expression
        for expression in expressions()
        if not query(prometheus, expression) and not any(name in expression for name in NOT_HERE)
    ]
    assert silent == []


def test_waits_are_told_by_model_and_class(prometheus: httpx.Client) -> None:
    found = query(prometheus, "sum by (model, client_class) (backlot_job_wait_seconds_count)")
    labels = sorted((row["metric"]["model"], row["metric"]["client_class"]) for row in found)
    assert labels == [("fake", "high"), ("fake", "normal")]


def test_refunds_are_told_by_reason(prometheus: httpx.Client) -> None:
    (row,) = query(prometheus, "backlot_credits_refunded_total")
    assert (row["metric"]["reason"], row["value"][1]) == ("pipeline_error", "10")


def test_batches_are_no_fuller_than_their_slots(prometheus: httpx.Client) -> None:
    (row,) = query(prometheus, "backlot_batch_fill_ratio_sum / backlot_batch_fill_ratio_count")
    assert 0 < float(row["value"][1]) <= 1


def test_every_alert_is_evaluated(prometheus: httpx.Client) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    wait_for(lambda: bool(rules()) and all(rule["health"] != "unknown" for rule in rules()))
    assert [(rule["name"], rule["lastError"]) for rule in rules() if rule["health"] != "ok"] == []
    written = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text())
    assert sorted(rule["name"] for rule in rules()) == sorted(written)
    # Nothing here has been wrong for long enough to fire an alert.
    assert [rule["name"] for rule in rules() if rule["state"] == "firing"] == []


def test_dashboard_and_alerts_name_only_metrics_that_there_are() -> None:
    documented = set(re.findall(r"`(backlot_\w+)`", (ROOT / "docs" / "reference" / "metrics.md").read_text()))
    text = " ".join(expressions()) + Path(MONITORING / "alerts.yml").read_text()
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"backlot_\w+", text)}
    assert named - documented == set()
