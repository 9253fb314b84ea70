"""The camera: a thin lens that looks at a point."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    #: The angle of the picture's shorter side, in degrees.
    field_of_view: float
    aspect: float
    #: The radius of the lens; 0 is a pinhole, which shows everything sharp.
    aperture: float = 0.0
    #: The distance in focus; 0 takes the target's.
    focus: float = 0.0
    roll: float = 0.0

    def table(self) -> NDArray[np.float64]:
        """Return eye, right, up, forward, half the frame at distance 1, aperture and focus, as the tracer reads them."""
        eye, target = np.array(self.eye), np.array(self.target)
        forward = target - eye
        distance = float(np.linalg.norm(forward))
        forward /= distance
        world_up = np.array([0.0, 1.0, 0.0]) if abs(forward[1]) < 0.98 else np.array([0.0, 0.0, -1.0])
        right = np.cross(forward, world_up)
        right /= np.linalg.norm(right)
        up = np.cross(right, forward)
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        right, up = cos * right + sin * up, cos * up - sin * right
        half = math.tan(math.radians(self.field_of_view) / 2)
        wide, high = (half * self.aspect, half) if self.aspect >= 1 else (half, half / self.aspect)
        return np.array([*eye, *right, *up, *forward, wide, high, self.aperture, self.focus or distance])
