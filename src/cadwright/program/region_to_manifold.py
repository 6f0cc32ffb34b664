"""An area and a height -> a prism, its rims left sharp, chamfered or rounded.

A rim is cut by moving the outline inwards as the end comes near, corners staying sharp: by as
much as the height lost for a chamfer, along a quarter circle for a fillet. That is what
OpenCASCADE makes of the edges around an end. From z = 0 to the height, plane coordinates.
"""

from __future__ import annotations

import math
from itertools import pairwise

import manifold3d as m3
import numpy as np
from numpy.typing import NDArray

from cadwright.program.arcs import InvalidShape, inner_radius
from cadwright.program.grammar import Rim
from cadwright.program.insets import inset_rings
from cadwright.types import FloatArray, IntArray

FILLET_SIDES = 6  # of a quarter circle
CHAMFER_STEPS = 3  # levels of a chamfer, between which short edges of an arc may vanish
SLIVER = 1e-6  # corners nearer to each other than this share of the extent are one


def region_to_manifold(
    region: m3.CrossSection, height: float, rims: tuple[Rim, ...] = ()
) -> m3.Manifold:
    """The prism over an area.

    Args:
        region: the area; a prism over nothing is an empty solid.
        height: greater than 0.
        rims: of its upper ('>') and lower ('<') end.

    Raises:
        InvalidShape: the rims leave no wall, or an edge would vanish.
    """
    if not rims or region.is_empty():
        return m3.Manifold.extrude(region, height)
    levels = rims_to_levels(height, rims)
    insets = inset_rings(region_to_polygons(region), [inset for _, inset in levels])
    return _loft([z for z, _ in levels], insets)


def rims_to_levels(height: float, rims: tuple[Rim, ...]) -> list[tuple[float, float]]:
    """(z, how far the outline has moved inwards), from the lower end to the upper one.

    Raises:
        InvalidShape: nothing of the wall would be left.
    """
    if sum(rim.size for rim in rims) > height - 1e-6:
        raise InvalidShape("the cut rims are higher than the body")
    depths = {rim.end: _rim_depths(rim) for rim in rims}
    lower = [(depth, inset) for depth, inset in depths.get("<", [(0.0, 0.0)])]
    upper = [(height - depth, inset) for depth, inset in depths.get(">", [(0.0, 0.0)])]
    return lower + upper[::-1]


def _rim_depths(rim: Rim) -> list[tuple[float, float]]:
    """(distance from the end, inset), from the end inwards."""
    if rim.kind == "chamfer":
        shares = [k / CHAMFER_STEPS for k in range(CHAMFER_STEPS + 1)]
        return [(rim.size * share, rim.size * (1 - share)) for share in shares]
    radius = inner_radius(math.pi / 2, FILLET_SIDES)
    depths = [(0.0, rim.size)]
    for k in range(1, FILLET_SIDES):
        angle = k * math.pi / 2 / FILLET_SIDES
        wave = (1 - radius * math.cos(angle), 1 - radius * math.sin(angle))
        depths.append((rim.size * wave[0], rim.size * wave[1]))
    return [*depths, (rim.size, 0.0)]


def region_to_polygons(region: m3.CrossSection) -> list[FloatArray]:
    """Outlines counter-clockwise, holes clockwise, without corners that all but coincide."""
    if region.is_empty():
        return []
    low_x, low_y, high_x, high_y = region.bounds()
    fine = region.simplify(SLIVER * max(high_x - low_x, high_y - low_y))
    return [np.array(polygon, dtype=np.float64) for polygon in fine.to_polygons()]


def _loft(heights: list[float], rings: list[list[FloatArray]]) -> m3.Manifold:
    """The solid whose outline runs straight from each level to the next.

    Args:
        heights: of the levels, ascending.
        rings: for each level the same polygons, corner by corner; some corners may coincide.
    """
    num = sum(len(polygon) for polygon in rings[0])
    points = np.concatenate(
        [
            np.column_stack([np.concatenate(flat), np.full(num, z)])
            for z, flat in zip(heights, rings, strict=True)
        ]
    )
    points, index = np.unique(points, axis=0, return_inverse=True)
    index = index.reshape(len(heights), num)
    ahead = np.concatenate(_successors(rings[0]))
    faces = [_cap(rings[0], index[0])[:, ::-1], _cap(rings[-1], index[-1])]
    for low, high in pairwise(index):
        faces.append(np.stack([low, low[ahead], high[ahead]], axis=1))
        faces.append(np.stack([low, high[ahead], high], axis=1))
    a, b, c = np.concatenate(faces).T
    kept = (a != b) & (b != c) & (c != a)
    triangles = np.stack([a, b, c], axis=1)[kept].astype(np.uint64)
    return m3.Manifold(m3.Mesh64(points, triangles))


def _cap(polygons: list[FloatArray], index: NDArray[np.intp]) -> NDArray[np.intp]:
    """Triangles of an end, corners that coincide taken once."""
    kept: list[NDArray[np.bool_]] = []
    for polygon in polygons:
        kept.append((polygon != np.roll(polygon, 1, axis=0)).any(axis=1))
    corners = [polygon[mask] for polygon, mask in zip(polygons, kept, strict=True)]
    return index[np.concatenate(kept)][np.asarray(m3.triangulate(corners))]


def _successors(polygons: list[FloatArray]) -> list[IntArray]:
    """For each corner the index of the next one of its polygon."""
    starts = np.cumsum([0] + [len(polygon) for polygon in polygons[:-1]])
    return [
        (start + np.roll(np.arange(len(polygon)), -1)).astype(np.int32)
        for start, polygon in zip(starts, polygons, strict=True)
    ]
