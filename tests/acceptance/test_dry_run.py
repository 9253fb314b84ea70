"""A dry run gives the checks and errors of the request itself, and makes and takes nothing."""

from typing import Any

import pytest

from tests.support.server import SPEC, Server


@pytest.mark.parametrize(
    ("route", "body", "cost"),
    [("background-generator", SPEC, 5), ("image-generation", {"prompt": "marble in warm light", "n": 4}, 20)],
)
def test_a_dry_run_says_the_price_and_makes_nothing(
    tiny_server: Server, route: str, body: dict[str, Any], cost: int
) -> None:
    client = tiny_server.new_client(f"dry {route}", 100)
    answer = client.post(f"/v1/{route}", params={"dry_run": "true"}, json=body)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["credits_cost"], found["balance"]) == (cost, 100)
    assert found["queue_position"] >= 0
    assert found["estimated_seconds"] > 0
    assert client.get("/v1/jobs").json()["jobs"] == []
    assert client.get("/v1/credits").json() == {"balance": 100, "granted": 100, "spent": 0, "refunded": 0}


def test_a_dry_run_has_the_errors_of_the_request(tiny_server: Server) -> None:
    poor = tiny_server.new_client("dry and poor", 4)
    refused = poor.post("/v1/background-generator", params={"dry_run": "true"}, json=SPEC)
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "INSUFFICIENT_BALANCE")
    bad = poor.post(
        "/v1/background-generator",
        params={"dry_run": "true"},
        json={**SPEC, "sed": 7},
        headers={"Idempotency-Key": "two words"},
    )
    assert [detail["loc"] for detail in bad.json()["detail"]] == [["header", "Idempotency-Key"], ["body", "sed"]]


@pytest.mark.parametrize(
    ("scene", "mood", "understood"),
    [
        ("carrara counter", "cosy", {"scene": "marble", "mood": "warm", "colors_used": 5}),
        ("a red sports car on the moon", "melancholy", {"scene": None, "mood": None, "colors_used": 5}),
    ],
)
def test_what_a_closed_vocabulary_understood_is_told_everywhere(
    light_server: Server, scene: str, mood: str, understood: dict[str, Any]
) -> None:
    client = light_server.client
    colors = ["navy", "ivory", "red", "black", "teal", "gold"]
    spec = {"scene_type": scene, "mood": mood, "dominant_colors": colors, "image_model": "closed"}
    dry = client.post("/v1/background-generator", params={"dry_run": "true"}, json=spec).json()
    assert dry["understood"] == understood
    accepted = client.post("/v1/background-generator", json=spec).json()
    assert accepted["understood"] == understood
    [artifact] = light_server.finished(accepted["job_id"])["result"]
    assert artifact["meta"]["understood"] == understood
    [entry] = client.get("/v1/catalog/backgrounds", params={"scene_type": scene}).json()
    assert entry["understood"] == understood


def test_a_model_without_a_closed_vocabulary_understands_all_words(light_server: Server) -> None:
    accepted = light_server.client.post("/v1/background-generator", json=SPEC).json()
    assert "understood" not in accepted
    light_server.finished(accepted["job_id"])
    [entry] = light_server.client.get("/v1/catalog/backgrounds", params={"scene_type": SPEC["scene_type"]}).json()
    assert entry["understood"] is None


def test_the_words_of_a_closed_vocabulary_are_listed(light_server: Server) -> None:
    models = {model["name"]: model["vocabulary"] for model in light_server.client.get("/v1/models").json()["models"]}
    assert models["fake"] is None
    assert {"marble", "sweep"} < set(models["closed"]["scenes"])
    assert {"warm", "neutral"} < set(models["closed"]["moods"])
    assert (models["closed"]["default_scene"], models["closed"]["default_mood"]) == ("sweep", "neutral")
    assert models["closed"]["colors"] == 5
