"""The images that may share a batch with an image of a job."""

import time
from typing import Any

import pytest

from pipelines.model_card import ModelCard
from server.jobs import Generation
from server.scheduler.active_job import Image


def image(negative: str) -> Any:
    generation = Generation(
        model="a", width=512, height=512, steps=4, guidance=3.0, seed=1, prompt="marble", negative_prompt=negative
    )
    return Image(image_id="i", job=None, index=0, generation=generation, attempts=1, arrived=time.monotonic())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("card", "share"),
    [
        ({"pipeline": "FluxPipeline"}, True),
        ({"pipeline": "FluxPipeline", "slots": False}, False),
        ({"pipeline": "FluxPipeline", "offload": "model"}, False),
        ({"pipeline": "AuraFlowPipeline"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_negative_prompts_part_whole_batches_alone(card: dict[str, Any], share: bool) -> None:
    of = ModelCard.from_flat(name="a", licence="-", tiers=("0.5K",), steps=4, guidance=3.0, **card)
    without, one, another = (image(negative).batch_key(of) for negative in ("", "red", "navy"))
    assert one == another
    assert (without == one) == share
