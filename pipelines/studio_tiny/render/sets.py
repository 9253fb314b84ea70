"""The set: solids, materials, pigments, lamps and a camera, before light is traced or colours are chosen."""

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.studio_tiny.render import geometry
from pipelines.studio_tiny.render.camera import Camera
from pipelines.studio_tiny.render.geometry import Solid
from pipelines.studio_tiny.render.light import GOBO, Rig, foreground
from pipelines.studio_tiny.render.noise import SIDE


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


class Set(msgspec.Struct, frozen=True, kw_only=True):
    scene: str
    width: int
    height: int
    seed: int
    camera: Camera
    rig: Rig
    solids: list[Solid]
    materials: list[Material]
    pigments: list[Pigment]
    textures: list[NDArray[Any]]
    fields: list[NDArray[Any]]
    gobo: NDArray[Any] | None
    #: The part of each pigment in each place of the sky (SIDE, SIDE, pigments); None indoors.
    sky: NDArray[Any] | None
    #: How much of each pixel leaves close to the lens hide (height, width; 0–1). The last pigment is theirs.
    leaves: NDArray[Any] | None

    def solid_table(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        return geometry.table(self.solids)

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

    def texture_stack(self) -> NDArray[Any]:
        return np.stack(self.textures) if self.textures else np.zeros((1, 2, 2, 6), np.float32)

    def field_stack(self) -> NDArray[Any]:
        return np.stack(self.fields).astype(np.float32) if self.fields else np.zeros((1, 2, 2), np.float32)

    def lamp_table(self) -> NDArray[np.float64]:
        return self.rig.table()

    def gobo_picture(self) -> NDArray[Any]:
        return np.ones((GOBO, GOBO, 1), np.float32) if self.gobo is None else self.gobo

    def sky_picture(self) -> NDArray[Any]:
        return np.zeros((2, 2, 0), np.float32) if self.sky is None else self.sky


class Builder:
    """The parts of a set while a scene builds it."""

    def __init__(self, scene: str, width: int, height: int, colors: int, seed: int) -> None:
        self.scene, self.width, self.height, self.seed = scene, width, height, seed
        #: The least number of pigments with a colour of their own.
        self.colors = colors
        self.rng = np.random.default_rng(seed)
        self.aspect = width / height
        self.camera: Camera | None = None
        self.rig: Rig | None = None
        self.solids: list[Solid] = []
        self.materials: list[Material] = []
        self.pigments: list[Pigment] = []
        self.textures: list[NDArray[Any]] = []
        self.fields: list[NDArray[Any]] = []
        self.gobo: NDArray[Any] | None = None
        self.sky: NDArray[Any] | None = None
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

    def add(self, *solids: Solid) -> None:
        self.solids.extend(solids)

    def hang_leaves(self) -> None:
        """Let leaves reach into the frame close to the lens. Call this last, since the last pigment must be theirs."""
        self.pigment("leaves", "#5f7a4f", "#4a6741", "#7d8f5e", "#3f5a48")
        self.leaves = foreground(self.rng, self.width, self.height)

    def built(self) -> Set:
        if self.camera is None or self.rig is None:
            raise ValueError(f"the scene {self.scene} set no camera or no lamps")
        sky = self.sky
        if sky is not None and sky.shape[2] < len(self.pigments):
            sky = np.concatenate([sky, np.zeros((SIDE, SIDE, len(self.pigments) - sky.shape[2]), np.float32)], axis=2)
        return Set(
            scene=self.scene,
            width=self.width,
            height=self.height,
            seed=self.seed,
            camera=self.camera,
            rig=self.rig,
            solids=self.solids,
            materials=self.materials,
            pigments=self.pigments,
            textures=self.textures,
            fields=self.fields,
            gobo=self.gobo,
            sky=sky,
            leaves=self.leaves,
        )
