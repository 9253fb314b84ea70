"""The catalogue of models, a dry run and the charge say the same price."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import SPEC, Server, ServerWithoutGpu, wait_for

PRICES = """
[operations.background-generator]
credits_cost = 5
model_factors = { fake = 1.5 }
tier_factors = { "0.5K" = 1.1, "1K" = 3 }
[operations.image-generation]
credits_cost = 3
model_factors = { closed = 0.1 }
"""
BODIES: dict[str, dict[str, Any]] = {"background-generator": SPEC, "image-generation": {"prompt": "marble", "n": 3}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = ServerWithoutGpu(tmp_path, PRICES)
    server.start(wait_ready=False)
    yield server
    server.stop()


def test_a_dry_run_and_a_charge_agree_with_what_is_shown(server: Server) -> None:
    client = server.client
    operations = {operation["name"]: operation for operation in client.get("/v1/operations").json()["operations"]}
    assert operations["background-generator"]["credits_cost"] == 5
    assert operations["background-generator"]["model_factors"] == {"fake": 1.5}
    assert operations["background-generator"]["tier_factors"] == {"0.5K": 1.1, "1K": 3}
    for (name, body), model in itertools.product(BODIES.items(), ("fake", "closed")):
        [shown] = [price for price in operations[name]["prices"] if price["model"] == model]
        spec = {**body, "image_model": model, "resolution": shown["resolution"]}
        cost = shown["credits_cost"] * body.get("n", 1)
        dry = client.post(f"/v1/{name}", params={"dry_run": "true"}, json=spec).json()
        assert dry["credits_cost"] == cost
        accepted = client.post(f"/v1/{name}", json=spec, headers={"Max-Credits": str(cost)}).json()
        assert accepted["credits_cost"] == cost
        assert server.credits()["balance"] == dry["balance"] - cost
    # 5 × 1.5 × 1.1 = 8.25; 5 × 1.1 = 5.5; 3 images of 3 each; 3 images of 3 × 0.1 = 0.3 each, which rounds to 0.
    assert server.credits()["spent"] == 8 + 6 + 9 + 0


@pytest.mark.parametrize("path", ["background-generator", "background-generator?dry_run=true", "images/generations"])
def test_nobody_pays_more_than_the_request_allows(server: Server, path: str) -> None:
    body = SPEC if "background" in path else {"prompt": "marble", "n": 3}
    refused = server.client.post(f"/v1/{path}", json=body, headers={"Max-Credits": "7"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "PRICE_TOO_HIGH")
    assert server.credits()["spent"] == 0
    odd = server.client.post(f"/v1/{path}", json=body, headers={"Max-Credits": "few"})
    assert odd.status_code == 422
    assert "Max-Credits" in odd.text


def test_a_price_that_rises_after_it_was_shown_is_not_taken(server: Server, tmp_path: Path) -> None:
    shown = server.client.post("/v1/background-generator", params={"dry_run": "true"}, json=SPEC).json()
    models = tmp_path / "models.toml"
    models.write_text(models.read_text().replace("credits_cost = 5", "credits_cost = 50"))
    wait_for(lambda: server.client.get("/v1/operations").json()["operations"][0]["credits_cost"] == 50)
    headers = {"Max-Credits": str(shown["credits_cost"])}
    assert server.client.post("/v1/background-generator", json=SPEC, headers=headers).status_code == 409
    assert server.credits() == {"balance": 1000, "granted": 1000, "spent": 0, "refunded": 0}
    assert server.client.get("/v1/jobs").json()["total"] == 0


def test_a_repeated_request_gets_its_first_answer_at_its_first_price(server: Server, tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "once", "Max-Credits": "8"}
    first = server.client.post("/v1/background-generator", json=SPEC, headers=headers).json()
    models = tmp_path / "models.toml"
    models.write_text(models.read_text().replace("credits_cost = 5", "credits_cost = 50"))
    wait_for(lambda: server.client.get("/v1/operations").json()["operations"][0]["credits_cost"] == 50)
    assert server.client.post("/v1/background-generator", json=SPEC, headers=headers).json() == first
    assert server.credits()["spent"] == 8
