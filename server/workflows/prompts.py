"""Makes the prompt that a model reads from a spec's free text."""

from collections.abc import Sequence

import msgspec

from pipelines.colors import Rgb, color_name
from pipelines.model_card import ModelCard
from pipelines.studio_tiny import vocabulary
from server.jobs import Understood
from server.models_file import Brand


class Prompt(msgspec.Struct, frozen=True):
    text: str
    negative: str
    #: None if the model has no closed vocabulary.
    understood: Understood | None = None
    #: The end of `text` that the model must read even if the whole is too long for it.
    brand_words: str = ""


def of_scene(card: ModelCard, brand: Brand, scene: str, mood: str, colors: Sequence[Rgb], negative: str = "") -> Prompt:
    """Fill the card's template. A brand's words are added to the prompt, or to the mood if the vocabulary is closed."""
    if card.wording.vocabulary is not None:
        return _closed(card, brand, scene, mood, colors)
    text = card.wording.prompt.format(scene=scene, mood=mood, colors=_in_words(colors))
    # A template with an empty colour list leaves dangling separators behind.
    parts = [part.strip() for part in text.split(",")]
    return Prompt(
        _joined(*parts, brand.prompt),
        _joined(card.wording.negative_prompt, brand.negative_prompt, negative),
        brand_words=brand.prompt,
    )


def of_text(card: ModelCard, brand: Brand, text: str, colors: Sequence[Rgb], negative: str = "") -> Prompt:
    """Return a client's own prompt, with the colours and the brand's words after it."""
    if card.wording.vocabulary is not None:
        return _closed(card, brand, text, text, colors)
    return Prompt(
        _joined(text, _in_words(colors), brand.prompt),
        _joined(card.wording.negative_prompt, brand.negative_prompt, negative),
        brand_words=brand.prompt,
    )


def _closed(card: ModelCard, brand: Brand, scene: str, mood: str, colors: Sequence[Rgb]) -> Prompt:
    phrase = vocabulary.phrase(scene, f"{mood} {brand.prompt}".strip(), colors)
    understood = Understood(phrase.scene, phrase.mood, phrase.colors_used)
    return Prompt(phrase.prompt, _joined(card.wording.negative_prompt, brand.negative_prompt), understood)


def _in_words(colors: Sequence[Rgb]) -> str:
    """Return `in navy and ivory`; nothing without colours."""
    names = " and ".join(dict.fromkeys(color_name(color) for color in colors))
    return f"in {names}" if names else ""


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
