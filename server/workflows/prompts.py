"""From a spec's free text to the prompt a model reads."""

from collections.abc import Sequence

import msgspec

from pipelines.colors import Rgb, color_name
from pipelines.model_card import ModelCard
from pipelines.studio_tiny import vocabulary
from server.models_file import Brand


class Prompt(msgspec.Struct, frozen=True):
    text: str
    negative: str
    #: How free text was understood, where the model has a closed vocabulary: {"scene": …, "mood": …, "colors_used": …}.
    understood: dict[str, str | int] | None = None


def write_prompt(card: ModelCard, brand: Brand, scene: str, mood: str, colors: Sequence[Rgb]) -> Prompt:
    """The prompt of one image. A brand's words are added to the prompt, or to the mood where the vocabulary is closed."""
    negative = ", ".join(text for text in (card.negative_prompt, brand.negative_prompt) if text)
    if card.vocabulary == "studio-tiny":
        phrase = vocabulary.phrase(scene, f"{mood} {brand.prompt}".strip(), colors)
        understood: dict[str, str | int] = {
            "scene": phrase.scene,
            "mood": phrase.mood,
            "colors_used": phrase.colors_used,
        }
        return Prompt(phrase.prompt, negative, understood)
    names = " and ".join(dict.fromkeys(color_name(color) for color in colors))
    text = card.prompt.format(scene=scene, mood=mood, colors=f"in {names}" if names else "")
    # A template with an empty colour list leaves dangling separators behind.
    parts = [part.strip() for part in text.split(",")]
    return Prompt(", ".join(part for part in (*parts, brand.prompt) if part), negative)
