"""Prompts that are longer than a pipeline's text encoder reads: diffusers cuts them off, and only warns.

Families whose encoder is a language model wrap the prompt in a chat of some thirty tokens, and allow for most of them. For a
prompt within about thirty tokens of the limit, the words that are found to be cut off may be wrong by that many tokens.
"""

import inspect
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import msgspec

#: Attributes of a pipeline that may hold a tokenizer; the last of them reads the most.
_TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3", "tokenizer_4")


class FittedPrompt(msgspec.Struct, frozen=True):
    """The prompt that the pipeline gets, and the words of the spec's prompt that its text encoder does not read."""

    prompt: str
    cut: str


def fit_prompt(pipeline: Any, arguments: dict[str, Any], prompt: str, brand_words: str) -> FittedPrompt:
    """Return the prompt, shortened before the brand's words at its end if it is too long, so that the encoder reads these.

    `arguments` are those of the card.
    """
    fits = _limit(pipeline, arguments)
    if fits(prompt):
        return FittedPrompt(prompt, "")
    if not brand_words or not prompt.endswith(brand_words):
        words = prompt.split(" ")
        return FittedPrompt(prompt, " ".join(words[_most(words, fits) :]))
    words = prompt.removesuffix(brand_words).rstrip(", ").split(" ")

    def with_brand(text: str) -> str:
        return f"{text.rstrip(', ')}, {brand_words}"

    kept = _most(words, lambda text: fits(with_brand(text)))
    if kept == 0:
        brand = fit_prompt(pipeline, arguments, brand_words, "")
        return FittedPrompt(brand.prompt, " ".join([*words, brand.cut]).rstrip())
    return FittedPrompt(with_brand(" ".join(words[:kept])), " ".join(words[kept:]))


def _most(words: list[str], fits: Callable[[str], bool]) -> int:
    """Return how many of the first words fit."""
    return bisect_left(range(1, len(words) + 1), True, key=lambda count: not fits(" ".join(words[:count])))


def _limit(pipeline: Any, arguments: dict[str, Any]) -> Callable[[str], bool]:
    """Return a function that says whether the encoder that reads the most reads all of a text."""
    present = [part for name in _TOKENIZERS if (part := getattr(pipeline, name, None)) is not None]
    if not present:
        return lambda _: True
    # Some pipelines hold a processor of texts and images, with the tokenizer in it.
    tokenizer: Any = getattr(present[-1], "tokenizer", present[-1])
    taken = inspect.signature(pipeline.__call__).parameters.get("max_sequence_length")
    # Stable Diffusion 3 has this argument for its third encoder, which may be absent.
    if taken is not None and getattr(pipeline, "tokenizer_3", tokenizer) is not None:
        limit = arguments.get("max_sequence_length", taken.default)
    else:
        limit = tokenizer.model_max_length
    return lambda text: len(tokenizer(text).input_ids) <= limit
