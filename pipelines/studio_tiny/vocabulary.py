"""The closed vocabulary of studio-tiny: 26 scenes, 13 moods, and up to five colours as quantised channels.

A prompt has words at fixed places: scene, mood, then red, green and blue of five colours, the largest first; `none` fills
the place of a colour that was not requested. Each word of a colour names its place, so that even a bag of words is
unambiguous.
"""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from pipelines.studio_tiny.meaning import ClosedVocabulary

#: How many levels a colour channel is quantised to.
LEVELS = 64
#: How many colours the model reads; further ones of a spec are left out.
COLORS = 5

SCENES: dict[str, tuple[str, ...]] = {
    "sweep": (
        "studio sweep", "sweep", "cyclorama", "cyc", "infinity cove", "infinity", "cove", "seamless", "seamless paper",
        "paper roll", "studio", "backdrop", "gradient", "plain", "solid", "packshot",
    ),
    "podium": (
        "podium", "pedestal", "plinth", "stage", "stand", "display", "platform", "cylinder", "product stand", "award",
        "exhibition", "geometric", "blocks",
    ),
    "steps": ("steps", "stairs", "staircase", "stairway", "step", "tiers", "tiered", "terrace", "terraced"),
    "arch": ("arch", "arches", "archway", "portal", "doorway", "gate", "vault", "arcade"),
    "niche": ("niche", "alcove", "recess", "cutout", "wall niche", "hollow", "round opening", "porthole"),
    "shelf": ("shelf", "shelves", "ledge", "mantel", "mantelpiece", "bookshelf", "floating shelf", "sideboard", "console"),
    "paper": (
        "paper", "cut paper", "paper cut", "papercut", "layered paper", "origami", "cardboard", "collage", "layers",
        "paper layers", "circles", "abstract shapes",
    ),
    "mirror": (
        "mirror", "mirrored", "reflection", "reflective floor", "glowing panel", "light panel", "glossy floor", "showcase",
        "acrylic", "glass", "lightbox", "glow", "glowing", "backlit",
    ),
    "marble": ("marble", "carrara", "calacatta", "onyx", "quartz", "travertine", "stone slab", "veined stone", "stone"),
    "wood": (
        "wood", "wooden", "planks", "plank", "timber", "oak", "walnut", "pine", "table", "tabletop", "floorboards",
        "hardwood", "boards", "rustic", "barn", "parquet", "bamboo", "cedar", "deck", "butcher block", "end grain",
    ),
    "terrazzo": ("terrazzo", "granite", "stone chips", "speckled", "speckle", "pebbles", "confetti", "mosaic stone"),
    "concrete": (
        "concrete", "cement", "industrial", "loft", "brutalist", "warehouse", "urban", "garage", "parking", "bunker",
    ),
    "plaster": (
        "plaster", "stucco", "lime wash", "limewash", "clay wall", "adobe", "wall", "textured wall", "venetian plaster",
        "rough wall", "mediterranean", "clay",
    ),
    "tiles": (
        "tiles", "tile", "tiled", "bathroom", "zellige", "ceramic", "subway tiles", "shower", "spa", "kitchen",
        "checkerboard", "mosaic",
    ),
    "brick": ("brick", "bricks", "brick wall", "brickwork", "masonry", "exposed brick"),
    "metal": (
        "metal", "brushed metal", "steel", "stainless steel", "aluminium", "aluminum", "chrome", "metallic", "iron",
        "copper", "brass", "titanium", "silver",
    ),
    "fabric": (
        "fabric", "draped fabric", "drape", "draped", "silk", "satin", "velvet", "textile", "cloth", "folds", "sheets",
        "bedding", "cashmere",
    ),
    "curtain": ("curtain", "curtains", "drapes", "drapery", "theatre", "theater", "hanging fabric", "veil"),
    "linen": (
        "linen", "woven", "weave", "canvas", "burlap", "cotton", "tablecloth", "gingham", "plaid", "tartan", "stripes",
        "striped", "checked", "picnic", "wool", "knit", "rug", "carpet",
    ),
    "water": (
        "water", "pool", "swimming pool", "ripples", "caustics", "poolside", "underwater", "aqua", "pond", "lagoon", "rain",
    ),
    "sand": ("sand", "dunes", "dune", "desert", "zen garden", "sandy", "sahara", "wellness", "pebble"),
    "beach": (
        "beach", "seaside", "sea", "ocean", "coast", "shore", "horizon", "beach horizon", "tropical", "island", "summer",
        "waves", "lake", "landscape", "outdoor", "outdoors", "holiday",
    ),
    "sky": ("sky", "clouds", "cloud", "cloudy", "heaven", "heavenly", "sunset", "sunrise", "dawn", "dusk", "air"),
    "window": (
        "window", "window light", "sunlight", "sunlit", "morning light", "window shadow", "blinds", "interior", "room",
        "living room", "bedroom", "loft window", "gobo", "apartment", "home", "office",
    ),
    "foliage": (
        "foliage", "leaf shadows", "leaf shadow", "leaves", "leaf", "palm shadow", "palm", "plants", "plant", "jungle",
        "garden", "botanical", "nature", "forest", "branches", "olive", "shadow", "shadows", "dappled light", "greenery",
    ),
    "bokeh": (
        "bokeh", "blurred lights", "city lights", "night", "night city", "fairy lights", "string lights", "sparkle",
        "glitter", "christmas", "festive", "party", "defocused", "blur",
    ),
}  # fmt: skip

MOODS: dict[str, tuple[str, ...]] = {
    "neutral": ("neutral", "plain", "simple", "clean", "minimal", "minimalist", "balanced", "natural", "modern", "even"),
    "bright": ("bright", "airy", "light", "high-key", "high key", "fresh", "sunny", "cheerful", "happy", "white", "day"),
    "dark": ("dark", "low-key", "low key", "night", "black", "gloomy", "mysterious", "noir", "moody", "somber", "gothic"),
    "warm": ("warm", "cozy", "cosy", "autumn", "autumnal", "homely", "inviting", "earthy", "rustic", "friendly"),
    "cool": ("cool", "cold", "icy", "winter", "wintry", "frosty", "clinical", "crisp", "blue", "technical", "sterile"),
    "dramatic": (
        "dramatic", "bold", "intense", "cinematic", "contrast", "high contrast", "spotlight", "powerful", "epic",
        "hard light", "strong",
    ),
    "soft": (
        "soft", "gentle", "dreamy", "pastel", "delicate", "romantic", "serene", "tender", "quiet", "calm", "peaceful",
        "feminine",
    ),
    "vivid": (
        "vivid", "vibrant", "saturated", "colorful", "colourful", "energetic", "playful", "lively", "fun", "pop", "summery",
    ),
    "golden": ("golden", "golden hour", "sunset", "sunrise", "sun-kissed", "evening sun", "honey", "late afternoon", "amber"),
    "misty": ("misty", "mist", "foggy", "fog", "hazy", "haze", "ethereal", "mystical", "smoky", "muted"),
    "elegant": (
        "elegant", "luxurious", "luxury", "premium", "sophisticated", "refined", "rich", "opulent", "classy", "exclusive",
    ),
    "neon": ("neon", "cyberpunk", "futuristic", "synthwave", "club", "electric", "sci-fi", "gaming", "rave", "retrowave"),
    "vintage": ("vintage", "retro", "nostalgic", "faded", "film", "analog", "analogue", "old", "sepia", "antique"),
}  # fmt: skip

SCENE_VOCABULARY = ClosedVocabulary(SCENES, default="sweep")
MOOD_VOCABULARY = ClosedVocabulary(MOODS, default="neutral")
PLACES = tuple(f"{channel}{place}" for place in range(1, COLORS + 1) for channel in "rgb")
#: How many words a prompt has.
LENGTH = 2 + len(PLACES)


class Phrase(msgspec.Struct, frozen=True):
    """A spec as the model reads it."""

    #: The word that the spec means; None if it means none, and the prompt has the vocabulary's default.
    scene: str | None
    mood: str | None
    colors_used: int
    prompt: str


def phrase(scene_type: str, mood: str, colors: Sequence[tuple[int, int, int]]) -> Phrase:
    """Return the phrase of a spec: the words of the vocabulary that it means, and the first five `colors` (0–255)."""
    scene_word, mood_word = scene_meant(scene_type), mood_meant(mood)
    text = prompt(scene_word or SCENE_VOCABULARY.default, mood_word or MOOD_VOCABULARY.default, colors)
    return Phrase(scene_word, mood_word, len(colors[:COLORS]), text)


def prompt(scene: str, mood: str, colors: Sequence[tuple[int, int, int]]) -> str:
    """Return the prompt for a scene and a mood of the vocabulary, and colours (channels 0–255)."""
    levels = [channel * LEVELS // 256 for color in colors[:COLORS] for channel in color]
    named = [f"{place}-{levels[i] if i < len(levels) else 'none'}" for i, place in enumerate(PLACES)]
    return " ".join([scene, mood, *named])


@lru_cache(1024)
def scene_meant(text: str) -> str | None:
    return SCENE_VOCABULARY.meant(text)


@lru_cache(1024)
def mood_meant(text: str) -> str | None:
    return MOOD_VOCABULARY.meant(text)


def words() -> list[str]:
    """Return every word that a prompt can have, in a fixed order."""
    levels = [*(str(level) for level in range(LEVELS)), "none"]
    return [*SCENES, *MOODS, *(f"{place}-{level}" for place in PLACES for level in levels)]
