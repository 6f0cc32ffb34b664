"""Polygons that 2D booleans left -> loops that know again which edges are arcs.

In: a polygon and the circles that went into it. Out: a Loop in the same
coordinates. Not covered: polygons whose circles are unknown.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cadwright.program.grammar import Point2
from cadwright.program.outline import CircleLoop, EdgeLoop, Loop, LoopError, as_rect
from cadwright.types import FloatArray

SIDES = 32  # of the polygon that stands for a circle while areas are combined
# Half of its corners' distance from the middles of its sides lies outside the circle, as a share.
OUTSIDE = (1 / math.cos(math.pi / SIDES) - 1) / 2


def polygon_area(polygon: FloatArray) -> float:
    """``signed_area`` of (N, 2) corners in a third of the time, N at least 2."""
    x, y = polygon[:, 0], polygon[:, 1]
    inner = np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])
    return 0.5 * float(inner + x[-1] * y[0] - x[0] * y[-1])


def polygon_to_loop(polygon: FloatArray, circles: FloatArray) -> Loop:
    """Find the arcs of a polygon again and name the loop.

    Args:
        polygon: (N, 2) corners in order.
        circles: (C, 3) centre x, y and radius of the circles that may bound it.

    Raises:
        LoopError: fewer than two edges are left.
    """
    outgoing = np.concatenate([polygon[1:], polygon[:1]]) - polygon
    length = np.hypot(outgoing[:, 0], outgoing[:, 1])
    owner = _edge_owners(polygon, length, circles)
    if owner[0] >= 0 and (owner == owner[0]).all():
        x, y, radius = circles[owner[0]]
        return CircleLoop((float(x), float(y)), float(radius))
    starts = _run_starts(outgoing, length, owner)
    if len(starts) < 2:
        raise LoopError("fewer than two edges")
    points = [(float(x), float(y)) for x, y in polygon[starts]]
    middles: list[Point2 | None] = []
    for k, start in enumerate(starts):
        if owner[start] < 0:
            middles.append(None)
            continue
        end = points[(k + 1) % len(points)]
        inner = polygon[(start + 1) % len(polygon)]
        middles.append(
            _arc_middle(points[k], (float(inner[0]), float(inner[1])), end, circles[owner[start]])
        )
    loop = EdgeLoop(tuple(points), tuple(middles))
    return as_rect(loop) or loop


def _edge_owners(polygon: FloatArray, length: FloatArray, circles: FloatArray) -> NDArray[np.intp]:
    """(N,) index of the circle that edge i (corner i to i+1) lies on, -1 for straight edges."""
    owner = np.full(len(polygon), -1)
    if not len(circles):
        return owner
    radius = circles[:, 2]
    distance = np.hypot(polygon[:, None, 0] - circles[:, 0], polygon[:, None, 1] - circles[:, 1])
    near = np.abs(distance - radius) < (OUTSIDE + 1e-3) * radius
    longest = 2 * radius * math.sin(math.pi / SIDES) * 1.02
    on = near & np.concatenate([near[1:], near[:1]]) & (length[:, None] <= longest)
    found = on.any(axis=1)
    owner[found] = on[found].argmax(axis=1)
    return owner


def _run_starts(
    outgoing: FloatArray, length: FloatArray, owner: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Indices of the corners where one edge (straight line or arc) ends and the next begins."""
    before = np.concatenate([owner[-1:], owner[:-1]])
    incoming = np.concatenate([outgoing[-1:], outgoing[:-1]])
    cross = incoming[:, 0] * outgoing[:, 1] - incoming[:, 1] * outgoing[:, 0]
    scale = length * np.concatenate([length[-1:], length[:-1]])
    bends = np.abs(cross) > 0.01 * scale
    starts: NDArray[np.intp] = np.nonzero((owner != before) | ((owner < 0) & bends))[0]
    return starts


def _arc_middle(start: Point2, inner: Point2, end: Point2, circle: FloatArray) -> Point2:
    """The point half-way along the arc from start to end that begins towards ``inner``."""
    x, y, radius = (float(value) for value in circle)
    first = math.atan2(start[1] - y, start[0] - x)
    towards = (math.atan2(inner[1] - y, inner[0] - x) - first) % (2 * math.pi)
    sweep = (math.atan2(end[1] - y, end[0] - x) - first) % (2 * math.pi)
    if towards > math.pi:
        sweep -= 2 * math.pi
    angle = first + sweep / 2
    return (x + radius * math.cos(angle), y + radius * math.sin(angle))
