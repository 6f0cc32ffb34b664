"""Polygons of unknown origin -> loops: circles, rectangles, chains of lines and arcs.

The polygons are slices of tessellated solids: straight edges are long, arcs
are runs of short edges on one circle. In: an area. Out: its outline, same
coordinates (PROGRAM units, for the tolerances). Not covered: the grid
(``program.outline.rounded``).
"""

from __future__ import annotations

import math

import manifold3d as m3
import numpy as np

from cadwright.inference.search.straighten import straightened
from cadwright.program.grammar import Point2
from cadwright.program.outline import (
    CircleLoop,
    EdgeLoop,
    Loop,
    LoopError,
    Outline,
    as_rect,
    signed_area,
)
from cadwright.program.program_to_mesh import InvalidShape, circle_through
from cadwright.types import FloatArray

FLAT = 0.08  # corners closer than this to the line between their neighbours are dropped
ROUND = 0.6  # how far the corners and edge middles of an arc may lie off its circle
SHARPEST_TURN = math.radians(50)  # between two edges of one arc
FEWEST_ARC_EDGES = 3
FEWEST_CIRCLE_EDGES = 8
LARGEST_RADIUS = 2000.0


def polygon_to_outline(
    piece: m3.CrossSection, smallest_area: float, *, tolerance: float = 0.0
) -> Outline:
    """The outline of one connected area, holes below ``smallest_area`` left out.

    Args:
        piece: the area, PROGRAM units.
        smallest_area: of a loop that is kept.
        tolerance: how far noise moves the edges; 0 for exact polygons.

    Raises:
        LoopError: the outer loop has too few corners.
    """
    polygons = [
        np.asarray(polygon) for polygon in piece.simplify(max(FLAT, tolerance)).to_polygons()
    ]
    sized = sorted(
        ((abs(signed_area(polygon)), k) for k, polygon in enumerate(polygons)), reverse=True
    )
    if not sized:
        raise LoopError("an area without corners")
    loops = [
        polygon_to_loop(polygons[k], tolerance=tolerance)
        for size, k in sized
        if size >= smallest_area
    ]
    if not loops:
        raise LoopError("an area too small")
    return Outline(loops[0], tuple(loops[1:]))


def polygon_to_loop(polygon: FloatArray, *, tolerance: float = 0.0) -> Loop:
    """Name one loop.

    Args:
        polygon: (N, 2) corners in order, nearly straight corners already dropped.
        tolerance: how far noise moves the edges; where it is not 0, edges nearly along an axis
            are put along it and cut corners made whole.

    Raises:
        LoopError: fewer than three corners.
    """
    if len(polygon) < 3:
        raise LoopError("a loop of fewer than three corners")
    off = ROUND + tolerance
    circle = _as_circle(polygon, off)
    if circle is not None:
        return circle
    if tolerance > 0:
        polygon = straightened(polygon, tolerance)
    polygon = np.roll(polygon, -_first_corner(polygon), axis=0)
    loop = _chain(polygon, _turns(polygon), off)
    return as_rect(loop) or loop


def _first_corner(polygon: FloatArray) -> int:
    """Where no arc is cut in two: the sharpest corner, or else the end of the longest edge."""
    turns = _turns(polygon)
    if turns.max() >= SHARPEST_TURN:
        return int(np.argmax(turns))
    lengths = np.linalg.norm(np.roll(polygon, -1, axis=0) - polygon, axis=1)
    return (int(np.argmax(lengths)) + 1) % len(polygon)


def _turns(polygon: FloatArray) -> FloatArray:
    """(N,) absolute change of direction at each corner, radians."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    angles = np.arctan2(edges[:, 1], edges[:, 0])
    change = (angles - np.roll(angles, 1) + np.pi) % (2 * np.pi) - np.pi
    return np.abs(change)


def _as_circle(polygon: FloatArray, off: float) -> CircleLoop | None:
    if len(polygon) < FEWEST_CIRCLE_EDGES:
        return None
    design = np.column_stack([2 * polygon, np.ones(len(polygon))])
    (x, y, rest), *_ = np.linalg.lstsq(design, (polygon**2).sum(axis=1), rcond=None)
    square = rest + x * x + y * y
    if not 0 < square < LARGEST_RADIUS**2:
        return None
    radius = math.sqrt(square)
    if _off_circle(np.vstack([polygon, polygon[:1]]), x, y, radius) > off:
        return None
    return CircleLoop((float(x), float(y)), radius)


def _off_circle(points: FloatArray, x: float, y: float, radius: float) -> float:
    """Largest distance of corners and edge middles from a circle."""
    middles = (points[1:] + points[:-1]) / 2
    marks = np.vstack([points, middles])
    return float(np.abs(np.hypot(marks[:, 0] - x, marks[:, 1] - y) - radius).max())


def _chain(polygon: FloatArray, turns: FloatArray, off: float) -> EdgeLoop:
    """Longest arcs first found, everything else straight; starts at corner 0."""
    count = len(polygon)
    closed = np.vstack([polygon, polygon[:1]])
    points: list[Point2] = []
    middles: list[Point2 | None] = []
    k = 0
    while k < count:
        end, middle = _longest_arc(closed, turns, k, off)
        points.append((float(closed[k, 0]), float(closed[k, 1])))
        middles.append(middle)
        k = end
    return EdgeLoop(tuple(points), tuple(middles))


def _longest_arc(
    closed: FloatArray, turns: FloatArray, start: int, off: float
) -> tuple[int, Point2 | None]:
    """The last corner of the arc that begins at ``start``, and a point in its middle."""
    last = start + 1
    while last < len(turns) and turns[last] < SHARPEST_TURN and _turns_alike(closed, start, last):
        last += 1
    for end in range(last, start + FEWEST_ARC_EDGES - 1, -1):
        run = closed[start : end + 1]
        inner = run[len(run) // 2]
        try:
            x, y, radius = circle_through(tuple(run[0]), tuple(inner), tuple(run[-1]))
        except InvalidShape:
            continue
        if radius < LARGEST_RADIUS and _off_circle(run, x, y, radius) <= off:
            return end, (float(inner[0]), float(inner[1]))
    return start + 1, None


def _turns_alike(closed: FloatArray, start: int, corner: int) -> bool:
    """Whether the path bends at ``corner`` to the same side as after ``start``."""

    def bend(k: int) -> float:
        a, b = closed[k] - closed[k - 1], closed[k + 1] - closed[k]
        return float(a[0] * b[1] - a[1] * b[0])

    return corner == start + 1 or bend(corner) * bend(start + 1) > 0
