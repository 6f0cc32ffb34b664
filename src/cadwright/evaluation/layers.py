"""Shared volume of two solids that are both stacks of prisms along one axis: exact, and sooner.

In: a mesh and its solid. Out: for each axis along which all its faces stand or lie, the areas
between its levels; and the volume that two such stacks share. Surfaces of target and prediction
often coincide, which is the slow case of a boolean of solids and no trouble for one of areas. Walls
may lean by 1e-5, so volumes are good to 1e-5. Any one frame. Not covered: anything else, which is
left to the boolean of solids.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import manifold3d as m3
import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.frames import Placement
from cadwright.geometry.rasterise import cross_rows
from cadwright.types import FloatArray, Mesh

LEAN = 1e-5  # of a unit normal along the axis, or away from it
SAME_LEVEL = 1e-7  # share of the longest side
MOST_LEVELS = 12  # with more of them the areas cost more than the solids


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """A solid between its levels along one axis.

    Attributes:
        levels: (L,) ascending.
        areas: L - 1, of the two axes that follow the axis, in their cyclic order.
    """

    levels: FloatArray
    areas: tuple[m3.CrossSection, ...]


class LayeredSolid:
    """A solid and, for each axis that allows it, its layers; these are cut at their first use."""

    def __init__(self, solid: m3.Manifold, mesh: Mesh) -> None:
        self.solid = solid
        self._mesh = mesh
        self._known: dict[int, Layers] = {}

    @cached_property
    def levels(self) -> dict[int, FloatArray]:
        """Axis (0, 1, 2) to levels, where all faces stand or lie and the levels are few."""
        normals = np.abs(_normals(self._mesh))
        upright = ((normals < LEAN) | (normals > 1 - LEAN)).all(axis=0)
        found = {}
        for axis in np.flatnonzero(upright):
            levels = _merged(self._mesh.vertices[:, axis], float(np.ptp(self._mesh.bounds)))
            if len(levels) <= MOST_LEVELS:
                found[int(axis)] = levels
        return found

    def layers(self, axis: int) -> Layers:
        """The layers along an axis of ``levels``."""
        if axis not in self._known:
            levels = self.levels[axis]
            turned = self.solid.transform(_turned(axis))
            middles = (levels[1:] + levels[:-1]) / 2
            areas = tuple([turned.slice(float(height)) for height in middles])
            self._known[axis] = Layers(levels, areas)
        return self._known[axis]


def shared_volume(target: LayeredSolid, prediction: LayeredSolid, way: Placement) -> float | None:
    """Volume that two stacks share; None where no axis suits both.

    Args:
        target: any frame.
        prediction: its own frame.
        way: from there to the target's frame.
    """
    axes = target.levels.keys() & prediction.levels.keys() if target.levels else None
    if not axes:
        return None
    axis = min(axes, key=lambda a: (len(target.levels[a]) + len(prediction.levels[a]), a))
    one, two = target.layers(axis), prediction.layers(axis)
    shift = np.roll(way.offset, 2 - axis)  # the turned order: the axis comes last
    levels = two.levels * way.scale + shift[2]
    moved = [
        area.scale((way.scale, way.scale)).translate((float(shift[0]), float(shift[1])))
        for area in two.areas
    ]
    volume = 0.0
    for low, high, area in zip(one.levels, one.levels[1:], one.areas, strict=False):
        for other_low, other_high, other in zip(levels, levels[1:], moved, strict=False):
            height = min(high, other_high) - max(low, other_low)
            if height > 0:
                volume += height * (area ^ other).area()
    return float(volume)


def _turned(axis: int) -> FloatArray:
    """(3, 4) cyclic exchange of axes that puts ``axis`` last, the z of a slice."""
    matrix = np.zeros((3, 4))
    for row in range(3):
        matrix[row, (row + axis + 1) % 3] = 1.0
    return matrix


def _normals(mesh: Mesh) -> FloatArray:
    """(F', 3) unit normals of the faces that have an area."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    cross = cross_rows(b - a, c - a)
    length = np.sqrt((cross * cross).sum(axis=1))
    has_area = length > 1e-9 * length.max()
    return np.asarray(cross[has_area] / length[has_area, None], dtype=np.float64)


def _merged(coordinates: NDArray[np.float64], size: float) -> FloatArray:
    """The different values among coordinates, ascending."""
    values = np.sort(coordinates)
    new = np.append(True, np.diff(values) > SAME_LEVEL * size)
    return values[new]
