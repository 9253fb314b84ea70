"""The set: solids, materials, pigments, lamps and a camera, before light is traced or colours are chosen."""

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.studio_tiny.render.camera import Camera
from pipelines.studio_tiny.render.geometry import Solid
from pipelines.studio_tiny.render.light import Rig, foreground


class Pigment(msgspec.Struct, frozen=True):
    """A part of a set with one colour. A tone (grain, joints, hollows) follows the colour of another pigment."""

    name: str
    #: Colours that it may have if none is requested, as #rrggbb.
    natural: tuple[str, ...] = ()
    #: The pigment of which this one is a tone; -1 if it has a colour of its own, which may be a requested one.
    of: int = -1
    #: The factor of the linear colour of `of`.
    tone: float = 1.0


class Material(msgspec.Struct, frozen=True, kw_only=True):
    #: The first pigment is the ground; the texture places the others.
    pigments: tuple[int, ...]
    #: The index of its texture in the set; -1 if it has none.
    texture: int = -1
    #: Metres that the texture covers.
    size: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    bump: float = 0.0
    #: The reflectance seen straight on; 0 is matt.
    specular: float = 0.0
    roughness: float = 0.3
    #: The light that it gives off, in units of its colour.
    glow: float = 0.0
    #: 1 is a metal, which shows its surroundings.
    metal: float = 0.0


class Set:
    """The parts of a set, to which a scene adds."""

    #: Every scene sets both.
    camera: Camera
    rig: Rig

    def __init__(self, width: int, height: int, colors: int, seed: int) -> None:
        self.width, self.height, self.seed = width, height, seed
        #: The least number of pigments with a colour of their own.
        self.colors = colors
        self.rng = np.random.default_rng(seed)
        self.aspect = width / height
        self.solids: list[Solid] = []
        self.materials: list[Material] = []
        self.pigments: list[Pigment] = []
        self.textures: list[NDArray[Any]] = []
        self.fields: list[NDArray[Any]] = []
        self.gobo: NDArray[Any] | None = None
        #: The part of each pigment in each place of the sky (SIDE, SIDE, pigments); None indoors.
        self.sky: NDArray[Any] | None = None
        #: How much of each pixel leaves close to the lens hide (height, width; 0–1). The last pigment is theirs.
        self.leaves: NDArray[Any] | None = None

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, part: float) -> bool:
        return bool(self.rng.random() < part)

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def pigment(self, name: str, *natural: str) -> int:
        self.pigments.append(Pigment(name, natural))
        return len(self.pigments) - 1

    def tone(self, of: int, factor: float) -> int:
        """Return a pigment that follows the colour of `of`, times `factor`."""
        self.pigments.append(Pigment(f"{self.pigments[of].name} tone", (), of, factor))
        return len(self.pigments) - 1

    def texture(self, texture: NDArray[Any]) -> int:
        self.textures.append(texture)
        return len(self.textures) - 1

    def field(self, field: NDArray[Any]) -> int:
        self.fields.append(field)
        return len(self.fields) - 1

    def material(self, *pigments: int, **options: Any) -> int:
        if options.get("texture", -1) >= 0 and "shift" not in options:
            options["shift"] = (self.uniform(0.4, 0.6), self.uniform(0.4, 0.6))
        self.materials.append(Material(pigments=pigments, **options))
        return len(self.materials) - 1

    def paint(self, name: str, *natural: str, **options: Any) -> int:
        """Return a material of one new pigment."""
        return self.material(self.pigment(name, *natural), **options)

    def add(self, *solids: Solid) -> None:
        self.solids.extend(solids)

    def hang_leaves(self) -> None:
        """Let leaves reach into the frame close to the lens. Call this last, since the last pigment must be theirs."""
        self.pigment("leaves", "#5f7a4f", "#4a6741", "#7d8f5e", "#3f5a48")
        self.leaves = foreground(self.rng, self.width, self.height)

    def material_table(self) -> NDArray[np.float64]:
        rows = np.zeros((len(self.materials), 16))
        for row, material in zip(rows, self.materials, strict=True):
            pigments = [*material.pigments, *[material.pigments[0]] * 5][:5]
            row[:] = [
                material.texture,
                1 / material.size,
                *material.shift,
                math.cos(material.turn),
                math.sin(material.turn),
                material.bump,
                material.specular,
                material.roughness,
                material.glow,
                *pigments,
                material.metal,
            ]
        return rows

    def sky_picture(self) -> NDArray[Any]:
        """Return the sky with all pigments: those that were added after it have no part in it."""
        if self.sky is None:
            return np.zeros((2, 2, 0), np.float32)
        return np.pad(self.sky, ((0, 0), (0, 0), (0, len(self.pigments) - self.sky.shape[2])))
