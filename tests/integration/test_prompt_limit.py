"""Prompts that are too long for a text encoder: the words that are kept, and those that are told."""

import pytest

from pipelines.denoising.prompt_limit import FittedPrompt, fit_prompt
from tests.support import tiny

#: A prompt of as many words as fit: the tiny encoder reads 16 tokens, of which two are its own marks.
FULL = " ".join(["marble"] * 14)


@pytest.mark.parametrize(
    ("prompt", "brand_words", "fitted"),
    [
        (FULL, "", FittedPrompt(FULL, "")),
        (f"{FULL} warm red", "", FittedPrompt(f"{FULL} warm red", "warm red")),
        (f"{FULL} warm, navy wood", "navy wood", FittedPrompt(", ".join([" ".join(["marble"] * 11), "navy wood"]), "marble marble marble warm")),
        ("warm, navy wood", "navy wood", FittedPrompt("warm, navy wood", "")),
        (f"warm, {FULL} red", f"{FULL} red", FittedPrompt(f"{FULL} red", "warm red")),
    ],
    ids=["just fits", "too long", "the brand is kept", "short", "the brand alone is too long"],
)  # fmt: skip
def test_a_prompt_is_cut_at_its_limit_but_not_its_brand(prompt: str, brand_words: str, fitted: FittedPrompt) -> None:
    assert fit_prompt(tiny.unet_pipeline(), {}, prompt, brand_words) == fitted


def test_the_limit_of_a_language_encoder_is_its_argument() -> None:
    pipeline = tiny.flux_pipeline()
    assert fit_prompt(pipeline, {}, f"{FULL} warm red", "").cut == ""
    assert fit_prompt(pipeline, {"max_sequence_length": 8}, FULL, "").cut == " ".join(["marble"] * 8)
