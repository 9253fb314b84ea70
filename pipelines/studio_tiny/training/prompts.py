"""What a picture's prompt says: scene, mood, then red, green and blue of up to five colours, the largest first.

Each word of a colour says its place, so that even a bag of words is unambiguous.
"""

from collections.abc import Sequence

from pipelines.studio_tiny.render.bokeh import BOKEH
from pipelines.studio_tiny.render.moods import MOODS
from pipelines.studio_tiny.render.scenes import SCENES

#: Levels a colour channel is quantised to.
LEVELS = 64
#: Colours that the model reads.
COLORS = 5
PLACES = tuple(f"{channel}{place}" for place in range(1, COLORS + 1) for channel in "rgb")
SCENE_WORDS = (*SCENES, BOKEH)
MOOD_WORDS = tuple(MOODS)
#: Words of a prompt.
LENGTH = 2 + len(PLACES)


def prompt(scene: str, mood: str, colors: Sequence[tuple[int, int, int]]) -> str:
    """Return the prompt; `none` fills the places of colours that were not asked for."""
    levels = [channel * LEVELS // 256 for color in colors[:COLORS] for channel in color]
    return " ".join(
        [scene, mood, *(f"{place}-{levels[i] if i < len(levels) else 'none'}" for i, place in enumerate(PLACES))]
    )


def words() -> list[str]:
    """Return every word a prompt can have, in a fixed order."""
    levels = [*(str(level) for level in range(LEVELS)), "none"]
    return [*SCENE_WORDS, *MOOD_WORDS, *(f"{place}-{level}" for place in PLACES for level in levels)]
