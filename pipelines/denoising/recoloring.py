"""The recoloring of a small copy of a picture, again and again while it is denoised, to requested colours; without torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from pipelines.colors import Rgb
from pipelines.output.materials import Floats, Labels, Materials, rgb_of

#: How much cheaper a colour is for a material that had it before; to turn black to white costs 0.5.
_KEEP = 0.3


class Recoloring:
    """The materials of one picture, and which requested colour each of them has."""

    def __init__(self, colors: Sequence[Rgb]) -> None:
        self._wanted = rgb2lab(np.array([colors], dtype=np.uint8))[0].astype(np.float32)
        #: The index of each pixel's colour (height, width); -1 if it keeps its own.
        self._colored: Labels | None = None
        #: The colour of each material that moves, and the material's share in each pixel (height, width).
        self._moving: list[tuple[Floats, Floats]] = []

    def part(self, picture: Floats) -> None:
        """Divide a picture (height, width, 3; sRGB, 0–1) into materials; give each a colour, if possible its former one."""
        materials = Materials.of(rgb2lab(picture).astype(np.float32), len(self._wanted))
        targets = materials.assigned(self._wanted, _KEEP * self._kept(materials))
        self._colored = targets[materials.labels]
        shares = materials.shares()
        self._moving = [
            (self._wanted[color], shares[..., material]) for material, color in enumerate(targets) if color >= 0
        ]

    def moved(self, picture: Floats) -> Floats:
        """Return the picture with each material moved so that its mean is its colour.

        A material that has its colour already stays as it is, so a picture may be moved again and again. Light scales a
        colour, in CIELAB, towards black: L* + 16 stands for light.
        """
        lab = rgb2lab(picture).astype(np.float32)
        light, moved = lab[..., :1] + 16, lab.copy()
        for aim, share in self._moving:
            mean = (lab * share[..., None]).sum(axis=(0, 1)) / np.maximum(share.sum(), 1e-6)
            aim_light, mean_light = aim[0] + 16, mean[0] + 16
            new_light = aim_light + (light - mean_light) * np.clip(aim_light / mean_light, 0.5, 1.0)
            own_tint = lab[..., 1:] - light / mean_light * mean[1:]
            new_tint = new_light / aim_light * aim[1:] + own_tint
            moved += share[..., None] * (np.dstack([new_light - 16, new_tint]) - lab)
        return rgb_of(moved)

    def _kept(self, materials: Materials) -> NDArray[np.float64]:
        """Return the part of each material that had each colour before (materials, colours)."""
        count, labels = len(materials.areas), materials.labels.ravel()
        if self._colored is None:
            return np.zeros((count, len(self._wanted)))
        had = [np.bincount(labels, (self._colored == color).ravel(), count) for color in range(len(self._wanted))]
        part: NDArray[np.float64] = np.stack(had, axis=1) / np.bincount(labels)[:, None]
        return part
