"""The scenes: each builds a set around an empty middle, in which a product may stand.

A scene builds at least `colors` regions with a colour of their own, each large enough to be seen.
"""

from collections.abc import Callable

from pipelines.studio_tiny.render.scenes import cloth, daylight, outdoors, studio, surfaces
from pipelines.studio_tiny.render.sets import Set

SCENES: dict[str, Callable[[Set], None]] = {
    "sweep": studio.sweep,
    "podium": studio.podium,
    "steps": studio.steps,
    "arch": studio.arch,
    "niche": studio.niche,
    "shelf": studio.shelf,
    "paper": studio.paper,
    "mirror": studio.mirror,
    "marble": surfaces.marble,
    "wood": surfaces.wood,
    "terrazzo": surfaces.terrazzo,
    "concrete": surfaces.concrete,
    "plaster": surfaces.plaster,
    "tiles": surfaces.tiles,
    "brick": surfaces.brick,
    "metal": surfaces.metal,
    "fabric": cloth.fabric,
    "curtain": cloth.curtain,
    "linen": cloth.linen,
    "water": outdoors.water,
    "sand": outdoors.sand,
    "beach": outdoors.beach,
    "sky": outdoors.sky,
    "window": daylight.window,
    "foliage": daylight.foliage,
}

#: Scenes in which leaves may reach into the frame.
_LEAFY = ("podium", "arch", "niche", "plaster", "window", "shelf", "sand", "water", "steps")


def build(scene: str, width: int, height: int, colors: int, seed: int) -> Set:
    """Return a set of the scene with at least `colors` (1–5) regions of their own colour. Equal seeds give equal sets."""
    built = Set(width, height, colors, seed)
    SCENES[scene](built)
    if scene == "foliage" or (scene in _LEAFY and built.chance(0.15)):
        built.hang_leaves()
    return built
