"""Model cards: the decisions of each group of fields."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from pipelines.model_card import (
    IN_RECIPE,
    IN_REVISION,
    Execution,
    FlatCard,
    Limits,
    ModelCard,
    Residence,
    Sampling,
    Weights,
    Wording,
    cost_digest,
    settings_digest,
)
from pipelines.recipe import Recipe

CARD = ModelCard.from_flat(name="x", hub="a/b", licence="l", tiers=("1K",), steps=1, guidance=1.0)
GROUPS: dict[str, type[msgspec.Struct]] = {
    "weights": Weights,
    "residence": Residence,
    "sampling": Sampling,
    "execution": Execution,
    "limits": Limits,
    "wording": Wording,
}
FIELDS = [(group, field) for group, struct in GROUPS.items() for field in struct.__struct_fields__]


def changed(group: str, field: str) -> ModelCard:
    """Return the card with another value in one field."""
    before: Any = getattr(getattr(CARD, group), field)
    other: Any
    match before:
        case bool():
            other = not before
        case int() | float():
            other = before + 1
        case str() | None:
            other = f"{before} changed"
        case dict():
            other = {**before, "changed": 1}
        case tuple():
            other = (*before, 64)
    values = msgspec.structs.replace(getattr(CARD, group), **{field: other})
    return msgspec.structs.replace(CARD, **{group: values})


def test_every_group_of_a_card_is_known_here() -> None:
    structs = {
        field.name: field.type
        for field in msgspec.structs.fields(ModelCard)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    }
    assert structs == GROUPS


def test_every_key_of_models_toml_is_in_exactly_one_group() -> None:
    own = [field for field in ModelCard.__struct_encode_fields__ if field not in GROUPS]
    keys = Counter([*own, *(key for group in GROUPS.values() for key in group.__struct_encode_fields__)])
    # A card is named by its table, and the server sets what the files say.
    assert keys - Counter(["name", "stamp", "own_scheduler", "takes_guidance"]) == Counter(
        FlatCard.__struct_encode_fields__
    )
    assert set(keys.values()) == {1}


@pytest.mark.parametrize(("group", "field"), FIELDS)
def test_a_change_reaches_all_that_its_group_decides(group: str, field: str) -> None:
    card = changed(group, field)
    assert (card.in_memory != CARD.in_memory) == (group in ("weights", "residence"))
    in_settings = group in ("weights", "sampling") and field not in IN_RECIPE
    assert (settings_digest(card) != settings_digest(CARD)) == in_settings
    # A second pass has steps of its own, of another size, and a step that is not guided has half the rows.
    in_cost = (group in ("weights", "residence", "execution") and field not in IN_REVISION) or field in (
        "arguments",
        "guidance",  # CARD has 1, at which there is none.
        "guidance_argument",
        "guidance_interval",
        "upscale",
    )
    assert (cost_digest(card) != cost_digest(CARD)) == in_cost


def test_costs_are_measured_again_if_a_card_stops_guiding() -> None:
    five, six, one, zero = (
        cost_digest(msgspec.structs.replace(CARD, sampling=msgspec.structs.replace(CARD.sampling, guidance=guidance)))
        for guidance in (5.0, 6.0, 1.0, 0.0)
    )
    assert five == six
    assert len({five, one, zero}) == 3


def test_what_settings_leave_out_is_told_by_the_recipe_itself() -> None:
    assert set(Recipe.__struct_fields__) >= (IN_RECIPE - IN_REVISION) | {"revision"}


def test_images_of_the_first_version_keep_their_digest() -> None:
    assert settings_digest(CARD) == "aee4d151"
    card = ModelCard.from_flat(
        hub="a/b",
        licence="l",
        tiers=("1K",),
        steps=1,
        guidance=1.0,
        variant="fp16",
        scheduler="EulerDiscreteScheduler",
        scheduler_options={"timestep_spacing": "trailing"},
        arguments={"max_sequence_length": 256},
        guidance_argument="true_cfg_scale",
    )
    assert settings_digest(card) == "98b11a4a"


@pytest.mark.parametrize(
    ("card", "sizes"),
    [
        ({}, (1,)),
        ({"max_batch": 6}, (1, 2, 4)),
        ({"max_batch": 6, "reproducible": True}, (4,)),
        ({"max_batch": 8, "batch_sizes": (8, 2)}, (2, 8)),
        ({"max_batch": 8, "batch_sizes": (8, 2), "reproducible": True}, (8,)),
    ],
    ids=["one", "powers of two", "reproducible", "chosen", "chosen and reproducible"],
)
def test_allowed_batch_sizes(card: dict[str, Any], sizes: tuple[int, ...]) -> None:
    assert msgspec.structs.replace(CARD.limits, **card).allowed_batch_sizes == sizes


@pytest.mark.parametrize(
    ("weights", "source"),
    [
        (Weights(file="/toon.safetensors"), "/toon.safetensors"),
        (Weights(file="/toon.safetensors", folder="/sdxl"), "/toon.safetensors"),
        (Weights(folder="/sdxl"), "/sdxl"),
        (Weights(hub="a/b"), "a/b@main"),
        (Weights(hub="a/b", revision="0f" * 20), f"a/b@{'0f' * 20}"),
    ],
)
def test_where_the_weights_come_from(weights: Weights, source: str) -> None:
    assert weights.source == source
