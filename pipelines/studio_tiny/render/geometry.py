"""The solids of which sets are built; `rays` finds the points at which a ray meets them.

The unit is about a metre: x runs right, y up, z toward the camera; the floor is y = 0. A solid is a kind and a row of
numbers.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

RECT, BOX, CYLINDER, SPHERE, SWEEP, OPENING, ARCH, DISC, RELIEF = range(9)
ROW = 16

Vector = Sequence[float]


class Solid(msgspec.Struct, frozen=True):
    kind: int
    row: tuple[float, ...]
    #: The index of its material in the set.
    material: int


def rect(material: int, centre: Vector, across: Vector, along: Vector, half: tuple[float, float]) -> Solid:
    """Return a rectangle that is seen from both sides; `across` and `along` are its unit axes."""
    return Solid(RECT, (*centre, *across, *along, *half), material)


def floor(material: int, height: float = 0.0, half: float = 60.0) -> Solid:
    return rect(material, (0, height, 0), (1, 0, 0), (0, 0, -1), (half, half))


def wall(material: int, z: float) -> Solid:
    return rect(material, (0, 0, z), (1, 0, 0), (0, 1, 0), (60.0, 60.0))


def box(material: int, base: Vector, size: Vector, yaw: float = 0.0, bevel: float = 0.01) -> Solid:
    """Return a box that stands on `base` (the middle of its underside), `size` wide, high and deep."""
    centre = (base[0], base[1] + size[1] / 2, base[2])
    half = (size[0] / 2, size[1] / 2, size[2] / 2)
    return Solid(BOX, (*centre, *half, math.cos(yaw), math.sin(yaw), bevel), material)


def cylinder(material: int, base: Vector, radius: float, height: float, bevel: float = 0.01) -> Solid:
    return Solid(CYLINDER, (*base, radius, height, bevel), material)


def sphere(material: int, centre: Vector, radius: float) -> Solid:
    return Solid(SPHERE, (*centre, radius), material)


def sweep(material: int, depth: float, radius: float) -> Solid:
    """Return a paper sweep: the floor, a wall at z = -depth, and a curve of `radius` between them."""
    return Solid(SWEEP, (depth, radius), material)


def opening(material: int, thickness: float, half: float, sill: float, spring: float, round_: bool) -> Solid:
    """Return an endless wall at z = 0 with an arched opening in its middle, or a round one of radius `half` at `spring`."""
    return Solid(OPENING, (0.0, thickness, 0.0, half, sill, spring, float(round_)), material)


def arch(
    material: int, centre: float, z: float, thickness: float, outer: tuple[float, float], inner: tuple[float, float]
) -> Solid:
    """Return a standing arch; `outer` and `inner` are each half a width, and the height at which the round part begins."""
    return Solid(ARCH, (centre, z, thickness, *outer, *inner), material)


def disc(material: int, centre: tuple[float, float], z: float, thickness: float, radius: float) -> Solid:
    """Return an upright disc that faces the camera, its front at z."""
    return Solid(DISC, (*centre, z, thickness, radius), material)


def relief(
    material: int, centre: Vector, across: Vector, along: Vector, half: tuple[float, float], height: float, field: int
) -> Solid:
    """Return a height field over a rectangle: heights 0–1 of field number `field`, times `height`, along the normal."""
    return Solid(RELIEF, (*centre, *across, *along, *half, height, float(field)), material)


def table(solids: Sequence[Solid]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return kinds (n,), rows (n, ROW) and materials (n,) of solids as the tracer reads them."""
    rows = np.zeros((len(solids), ROW))
    for index, solid in enumerate(solids):
        rows[index, : len(solid.row)] = solid.row
    kinds = np.array([solid.kind for solid in solids], np.int64)
    return kinds, rows, np.array([solid.material for solid in solids], np.int64)
