"""Values on a flat grid -> the area where they exceed a level: marching squares.

In: (n, n) values at the cell centres of a grid, PROGRAM frame. Out: an area whose corners lie
on the lines between centres, linearly between the values. Everything beyond the grid is below
the level. Not covered: saddles are always cut the same way.
"""

from __future__ import annotations

import manifold3d as m3
import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.voxels import Grid
from cadwright.types import FloatArray

# Per case (corners above the level: 1 lower left, 2 lower right, 4 upper right, 8 upper left, x to
# the right) the sides that are joined: 0 bottom, 1 right, 2 top, 3 left; the inside on the left.
_CASES: tuple[tuple[tuple[int, int], ...], ...] = (
    (), ((0, 3),), ((1, 0),), ((1, 3),), ((2, 1),), ((0, 3), (2, 1)), ((2, 0),), ((2, 3),),
    ((3, 2),), ((0, 2),), ((1, 0), (3, 2)), ((1, 2),), ((3, 1),), ((0, 1),), ((3, 0),), (),
)  # fmt: skip


def values_to_area(values: NDArray[np.floating], level: float, grid: Grid) -> m3.CrossSection:
    """The area above ``level``; ``values[i, j]`` belongs to x = centers[i], y = centers[j]."""
    padded = np.pad(np.asarray(values, dtype=np.float64), 1, constant_values=level - 1.0)
    joins = _joins(padded > level)
    polygons = [_side_points(np.array(ring), padded, level) for ring in _rings(joins)]
    corners = [
        (polygon - 1 + 0.5) * grid.cell + grid.centers[0] - grid.cell / 2 for polygon in polygons
    ]
    return m3.CrossSection(corners, m3.FillRule.EvenOdd)


def _joins(above: NDArray[np.bool_]) -> dict[tuple[int, int, int], tuple[int, int, int]]:
    """From each side of a square that the outline leaves to the one where it arrives.

    A side is (0, i, j), from corner (i, j) to (i + 1, j), or (1, i, j), from (i, j) to (i, j + 1).
    """
    case = above[:-1, :-1] + 2 * above[1:, :-1] + 4 * above[1:, 1:] + 8 * above[:-1, 1:]
    found: dict[tuple[int, int, int], tuple[int, int, int]] = {}
    for i, j in np.argwhere((case > 0) & (case < 15)).tolist():
        sides = ((0, i, j), (1, i + 1, j), (0, i, j + 1), (1, i, j))
        for start, end in _CASES[case[i, j]]:
            found[sides[start]] = sides[end]
    return found


def _rings(
    joins: dict[tuple[int, int, int], tuple[int, int, int]],
) -> list[list[tuple[int, int, int]]]:
    rings = []
    while joins:
        side, following = joins.popitem()
        ring = [side]
        while following in joins:
            ring.append(following)
            following = joins.pop(following)
        rings.append(ring)
    return rings


def _side_points(ring: NDArray[np.int64], values: FloatArray, level: float) -> FloatArray:
    """(K, 2) points on the sides, in steps of the padded grid."""
    way, i, j = ring.T
    first, last = values[i, j], values[i + (way == 0), j + (way == 1)]
    share = (level - first) / (last - first)
    return np.stack([i + share * (way == 0), j + share * (way == 1)], axis=1)
