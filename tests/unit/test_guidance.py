"""The models that follow a negative prompt, by their pipelines and their cards."""

from typing import Any

import pytest

from pipelines.guidance import follows_negative_prompts
from pipelines.model_card import ModelCard

TRUE = {"guidance_argument": "true_cfg_scale"}


@pytest.mark.parametrize(
    ("pipeline", "guidance", "card", "follows"),
    [
        ("StableDiffusionXLPipeline", 5.0, {}, True),
        ("StableDiffusionXLPipeline", 1.0, {}, False),
        ("StableDiffusionXLPipeline", 0.0, {}, False),
        ("StableDiffusionXLPipeline", 5.0, {"vocabulary": "studio-tiny"}, False),
        ("FluxPipeline", 3.5, {}, False),
        ("FluxPipeline", 3.5, TRUE, True),
        ("FluxPipeline", 3.5, {"arguments": {"true_cfg_scale": 2.0}}, True),
        ("Flux2Pipeline", 4.0, {}, False),
        ("QwenImagePipeline", 4.0, TRUE, True),
        ("QwenImagePipeline", 1.0, TRUE, False),
        ("ZImagePipeline", 0.0, {}, False),
        ("ZImagePipeline", 1.0, {}, True),
        ("Krea2Pipeline", 0.5, {}, True),
        # A hub id that is not on this box has no known pipeline.
        (None, 5.0, {}, True),
        (None, 1.0, {}, False),
    ],
)
def test_which_models_follow_a_negative_prompt(
    pipeline: str | None, guidance: float, card: dict[str, Any], follows: bool
) -> None:
    made = ModelCard.from_flat(
        name="m", hub="a/b", pipeline=pipeline, licence="l", tiers=("1K",), steps=4, guidance=guidance, **card
    )
    assert follows_negative_prompts(made) == follows
