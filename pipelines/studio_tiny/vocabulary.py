"""The closed vocabulary of studio-tiny: nine scenes, eight moods, and colours as quantised channels.

A prompt has eleven words at fixed places: scene, mood, then red, green and blue of three colours; `none` fills the place
of a colour that was not asked for. Each word of a colour says its place, so that even a bag of words is unambiguous.
"""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from pipelines.studio_tiny.meaning import ClosedVocabulary

#: Levels a colour channel is quantised to.
LEVELS = 32
#: Colours that the model reads; further ones of a spec are left out.
COLORS = 3

SCENES: dict[str, tuple[str, ...]] = {
    "sweep": (
        "studio sweep", "sweep", "cyclorama", "cyc", "infinity cove", "infinity", "cove", "seamless", "seamless paper",
        "paper roll", "studio", "backdrop", "gradient", "plain", "solid", "packshot",
    ),
    "marble": ("marble", "stone", "carrara", "calacatta", "onyx", "quartz", "granite", "travertine", "stone slab"),
    "wood": (
        "wood", "wooden", "planks", "plank", "timber", "oak", "walnut", "pine", "table", "tabletop", "floorboards",
        "hardwood", "boards", "rustic", "barn", "parquet", "bamboo", "cedar", "deck",
    ),
    "fabric": (
        "fabric", "draped fabric", "drape", "drapes", "cloth", "silk", "satin", "linen", "velvet", "curtain", "curtains",
        "textile", "folds", "cotton", "canvas",
    ),
    "concrete": (
        "concrete", "cement", "plaster", "industrial", "loft", "wall", "stucco", "brutalist", "warehouse", "urban",
        "brick", "garage",
    ),
    "bokeh": (
        "bokeh", "blurred lights", "city lights", "night", "night city", "fairy lights", "string lights", "sparkle",
        "glitter", "christmas", "festive", "party", "defocused", "blur",
    ),
    "beach": (
        "beach", "seaside", "sea", "ocean", "coast", "shore", "horizon", "sand", "beach horizon", "tropical", "island",
        "summer", "waves", "desert", "lake", "sky", "sunset", "sunrise", "landscape", "outdoor",
    ),
    "window": (
        "window", "window light", "sunlight", "sunlit", "morning light", "shadow", "shadows", "blinds", "interior",
        "room", "living room", "bedroom", "kitchen", "loft window", "gobo", "apartment", "home",
    ),
    "podium": (
        "podium", "pedestal", "plinth", "stage", "stand", "display", "platform", "cylinder", "showcase", "product stand",
        "award", "exhibition",
    ),
}  # fmt: skip

MOODS: dict[str, tuple[str, ...]] = {
    "neutral": ("neutral", "plain", "simple", "clean", "minimal", "minimalist", "balanced", "natural", "calm", "modern"),
    "bright": ("bright", "airy", "light", "high-key", "high key", "fresh", "sunny", "cheerful", "happy", "white", "day"),
    "dark": ("dark", "low-key", "low key", "night", "black", "gloomy", "mysterious", "noir", "moody", "somber"),
    "warm": ("warm", "cozy", "cosy", "golden", "autumn", "autumnal", "sunset", "homely", "inviting", "earthy", "rustic"),
    "cool": ("cool", "cold", "icy", "winter", "wintry", "frosty", "clinical", "crisp", "blue", "technical"),
    "dramatic": ("dramatic", "bold", "intense", "cinematic", "contrast", "high contrast", "spotlight", "powerful", "epic"),
    "soft": ("soft", "gentle", "dreamy", "pastel", "hazy", "delicate", "romantic", "serene", "tender", "muted", "quiet"),
    "vivid": ("vivid", "vibrant", "saturated", "colorful", "colourful", "energetic", "playful", "lively", "fun", "pop"),
}  # fmt: skip

SCENE_VOCABULARY = ClosedVocabulary(SCENES, default="sweep")
MOOD_VOCABULARY = ClosedVocabulary(MOODS, default="neutral")
PLACES = tuple(f"{channel}{place}" for place in range(1, COLORS + 1) for channel in "rgb")


class Phrase(msgspec.Struct, frozen=True):
    """A spec as the model reads it."""

    #: The words that were meant; None if the text means none, and the vocabulary's default is in the prompt.
    scene: str | None
    mood: str | None
    colors_used: int
    prompt: str


def phrase(scene_type: str, mood: str, colors: Sequence[tuple[int, int, int]]) -> Phrase:
    """Return the words of the vocabulary that are meant, and the first three of `colors` (channels 0–255)."""
    scene_word, mood_word = scene_meant(scene_type), mood_meant(mood)
    used = colors[:COLORS]
    words = [scene_word or SCENE_VOCABULARY.default, mood_word or MOOD_VOCABULARY.default]
    levels = [channel * LEVELS // 256 for color in used for channel in color]
    words += [
        f"{place}-{levels[index]}" if index < len(levels) else f"{place}-none" for index, place in enumerate(PLACES)
    ]
    return Phrase(scene_word, mood_word, len(used), " ".join(words))


@lru_cache(1024)
def scene_meant(text: str) -> str | None:
    return SCENE_VOCABULARY.meant(text)


@lru_cache(1024)
def mood_meant(text: str) -> str | None:
    return MOOD_VOCABULARY.meant(text)


def words() -> list[str]:
    """Return every word a prompt can have, in a fixed order."""
    levels = [str(level) for level in range(LEVELS)]
    return [*SCENES, *MOODS, *(f"{place}-{level}" for place in PLACES for level in [*levels, "none"])]
