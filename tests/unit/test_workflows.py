"""Specs to plans, prices and prompts."""

from typing import Any

import pytest

from pipelines.colors import PaletteMode
from pipelines.model_card import ModelCard
from pipelines.upscale import SecondPass, Upscale
from server.api.openai import nearest_size
from server.errors import Invalid
from server.jobs import JobType
from server.models_file import Brand, Models, Operation
from server.workflows.background import BACKGROUND_GENERATOR
from server.workflows.image import IMAGE_GENERATION
from server.workflows.prompts import of_scene, of_text
from server.workflows.registry import WORKFLOWS

SPEC = {"scene_type": "marble", "mood": "warm"}


def models(**card: Any) -> Models:
    made = ModelCard.from_flat(
        **{"name": "m", "hub": "a/b", "licence": "l", "tiers": ("0.5K", "1K"), "steps": 4, "guidance": 5.0, **card}
    )
    operations = {job_type: Operation(credits_cost=3) for job_type in JobType}
    return Models(default_model="m", models={"m": made}, operations=operations, brands={})


def problems(raw: Any, **card: Any) -> list[tuple[str | int, ...]]:
    with pytest.raises(Invalid) as refused:
        BACKGROUND_GENERATOR.check(raw, models(**card))
    return [problem.loc for problem in refused.value.problems]


def test_every_job_type_has_a_workflow() -> None:
    assert set(WORKFLOWS) == set(JobType)


def test_image_i_has_the_seed_plus_i() -> None:
    found = models()
    spec = IMAGE_GENERATION.check({"prompt": "p", "n": 4, "seed": 2**53 - 2}, found)
    plan = IMAGE_GENERATION.resolve(spec, found)
    # After the largest seed comes 0.
    assert [generation.seed for generation in plan.generations] == [2**53 - 2, 2**53 - 1, 0, 1]


def test_a_tier_above_the_models_own_is_made_in_two_passes() -> None:
    found = models(tiers=("0.5K",), multiple_of=32, steps=20, upscale=Upscale(tiers=("1K", "2K"), strength=0.2))
    made = {}
    for tier in ("0.5K", "1K", "2K"):
        spec = IMAGE_GENERATION.check({"prompt": "p", "resolution": tier, "aspect_ratio": "16:9"}, found)
        [made[tier]] = IMAGE_GENERATION.resolve(spec, found).generations
    # The sizes are exactly two and four times the size that the model makes.
    assert [(made[tier].width, made[tier].height) for tier in made] == [(672, 384), (1344, 768), (2688, 1536)]
    assert [made[tier].second for tier in made] == [None, SecondPass(2, 0.2, 4), SecondPass(4, 0.2, 4)]
    assert made["1K"].steps == 20


def test_a_seed_is_drawn_and_a_name_coined() -> None:
    found = models()
    plan = BACKGROUND_GENERATOR.resolve(
        BACKGROUND_GENERATOR.check({**SPEC, "dominant_colors": ["#000080"]}, found), found
    )
    assert 0 <= plan.generations[0].seed < 2**32
    assert plan.display_name == "Warm marble in navy"


def test_a_long_prompt_names_the_image_by_its_beginning() -> None:
    found = models()
    plan = IMAGE_GENERATION.resolve(IMAGE_GENERATION.check({"prompt": "very " * 100}, found), found)
    assert plan.display_name.startswith("Very very")
    assert plan.display_name.endswith("very…")
    assert len(plan.display_name) <= 200


def test_a_negative_prompt_is_refused_if_the_model_follows_none() -> None:
    raw = {**SPEC, "negative_prompt": "people"}
    assert problems(raw, guidance=0.0) == [("body", "negative_prompt")]
    assert problems(raw, vocabulary="studio-tiny") == [("body", "negative_prompt")]
    found = models()
    plan = BACKGROUND_GENERATOR.resolve(BACKGROUND_GENERATOR.check(raw, found), found)
    assert plan.generations[0].negative_prompt == "people"


@pytest.mark.parametrize(
    ("of_card", "of_spec", "used"),
    [("prompt", None, "prompt"), ("match", None, "match"), ("match", "prompt", "prompt"), ("prompt", "steer", "steer")],
)
def test_the_palette_is_that_of_the_spec_or_else_of_the_card(of_card: str, of_spec: str | None, used: str) -> None:
    found = models(palette=PaletteMode(of_card))
    plan = BACKGROUND_GENERATOR.resolve(BACKGROUND_GENERATOR.check({**SPEC, "palette": of_spec}, found), found)
    assert plan.generations[0].palette == used


def test_a_palette_that_there_is_not_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        BACKGROUND_GENERATOR.check({**SPEC, "palette": "guess"}, models())
    assert refused.value.problems[0].message == "'guess' is not one of prompt, steer, match"


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ({"pipeline": "CogView4Pipeline"}, "CogView4Pipeline keeps its latents in a way"),
        (
            {"scheduler": "EDMEulerScheduler"},
            "how much noise EDMEulerScheduler leaves at each step; it does for DDIMScheduler",
        ),
        ({"own_scheduler": "EDMEulerScheduler"}, "how much noise EDMEulerScheduler leaves"),
    ],
)
def test_a_model_that_cannot_be_steered_refuses_it(card: dict[str, Any], told: str) -> None:
    with pytest.raises(Invalid) as refused:
        BACKGROUND_GENERATOR.check({**SPEC, "palette": "steer"}, models(**card))
    assert refused.value.problems[0].loc == ("body", "palette")
    assert told in refused.value.problems[0].message
    BACKGROUND_GENERATOR.check({**SPEC, "palette": "steer"}, models(pipeline="FluxPipeline"))
    BACKGROUND_GENERATOR.check(
        {**SPEC, "palette": "steer"}, models(scheduler="DDIMScheduler", own_scheduler="EDMEulerScheduler")
    )
    BACKGROUND_GENERATOR.check({**SPEC, "palette": "match"}, models(**card))


def test_an_enum_error_lists_the_values() -> None:
    with pytest.raises(Invalid) as refused:
        BACKGROUND_GENERATOR.check({**SPEC, "on_technical_failure": "ignore"}, models())
    assert refused.value.problems[0].message == "'ignore' is not one of fail, retry, deliver"


def test_prompts() -> None:
    card = models(prompt="{scene}, {mood}, {colors}", negative_prompt="text").default
    brand = Brand(prompt="birch", negative_prompt="clutter")
    scene = of_scene(card, brand, "marble", "warm", [(255, 0, 0)], "people")
    assert (scene.text, scene.negative) == ("marble, warm, in red, birch", "text, clutter, people")
    assert of_text(card, brand, "a cat", [(0, 0, 128)]).text == "a cat, in navy, birch"
    assert of_text(card, Brand(), "a cat", []).text == "a cat"


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((1024, 1024), ("1K", "1:1")),
        ((256, 256), ("0.5K", "1:1")),
        ((1792, 1024), ("1K", "16:9")),
        ((640, 448), ("0.5K", "3:2")),
        ((99999, 1), ("0.5K", "21:9")),
    ],
)
def test_nearest_size(size: tuple[int, int], nearest: tuple[str, str]) -> None:
    assert nearest_size(models().default, *size) == nearest
