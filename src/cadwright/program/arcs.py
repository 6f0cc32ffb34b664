"""Circles and arcs -> the polygons that stand for them in the fast kernel and on grids.

A polygon encloses the area of its circle, not less: its corners lie on the circle where it
meets its own axes (so extents are exact) and at an arc's ends, all others a hair outside.
Half as many sides then do for the same solid. Coordinates are plane coordinates, any frame.
Not covered: how many sides are enough (``sketch_to_region``).
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cadwright.program.grammar import Point2
from cadwright.types import FloatArray

ARC_STEP = 2 * math.pi / 128
QUARTER = math.pi / 2
SHORT_PIECE = 0.02  # rad; a shorter piece of an arc is one side


class InvalidShape(Exception):
    """Internal: the drawing has no meaning; becomes ``Outcome.INVALID``."""


class ArcShape(NamedTuple):
    """The circle an arc lies on; ``sweep`` is signed, counter-clockwise positive, rad."""

    x: float
    y: float
    radius: float
    first: float
    to_middle: float
    sweep: float


def circle_through(a: Point2, b: Point2, c: Point2) -> tuple[float, float, float]:
    """Centre x, centre y and radius of the circle through three points.

    Raises:
        InvalidShape: the points lie in one line.
    """
    bx, by, cx, cy = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
    cross = 2.0 * (bx * cy - by * cx)
    if abs(cross) < 1e-9:
        raise InvalidShape("the three points of an arc lie in one line")
    b2, c2 = bx * bx + by * by, cx * cx + cy * cy
    x, y = (cy * b2 - by * c2) / cross, (bx * c2 - cx * b2) / cross
    return a[0] + x, a[1] + y, math.hypot(x, y)


@lru_cache(maxsize=1024)
def arc_shape(start: Point2, middle: Point2, end: Point2) -> ArcShape:
    """The circle through three points and the turn from the first to the last.

    Raises:
        InvalidShape: the points lie in one line.
    """
    x, y, radius = circle_through(start, middle, end)
    first = math.atan2(start[1] - y, start[0] - x)
    to_middle = (math.atan2(middle[1] - y, middle[0] - x) - first) % (2 * math.pi)
    sweep = (math.atan2(end[1] - y, end[0] - x) - first) % (2 * math.pi)
    if to_middle > sweep:
        to_middle, sweep = to_middle - 2 * math.pi, sweep - 2 * math.pi
    return ArcShape(x, y, radius, first, to_middle, sweep)


def arc_points(
    start: Point2, middle: Point2, end: Point2, *, step: float = ARC_STEP
) -> list[Point2]:
    """Points on an arc: without its start, with middle and end.

    Args:
        start: where the arc begins.
        middle: a point on it.
        end: where it ends.
        step: largest turn from one point to the next, rad.

    Raises:
        InvalidShape: the three points lie in one line.
    """
    x, y, radius, first, to_middle, sweep = arc_shape(start, middle, end)
    points: list[Point2] = []
    for begin, stop, last in ((0.0, to_middle, middle), (to_middle, sweep, end)):
        sides = max(1, math.ceil(abs(stop - begin) / step))
        angles = [first + begin + (stop - begin) * k / sides for k in range(1, sides)]
        points += [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in angles] + [last]
    return points


def arc_corners(start: Point2, middle: Point2, end: Point2, sides: int) -> list[Point2]:
    """Corners of a polygon with the arc's area under it: without its start, with its end.

    Args:
        start: where the arc begins.
        middle: a point on it.
        end: where it ends.
        sides: of the polygon for a full turn.

    Raises:
        InvalidShape: the three points lie in one line.
    """
    x, y, radius, first, _, sweep = arc_shape(start, middle, end)
    turns = [first, *_axis_angles(first, sweep), first + sweep]
    corners: list[Point2] = []
    for begin, stop in pairwise(turns):
        turn = abs(stop - begin)
        num = max(1 if turn < SHORT_PIECE else 2, math.ceil(turn * sides / (2 * math.pi) - 1e-6))
        inner = radius * inner_radius(turn, num)
        for k in range(1, num):
            angle = begin + (stop - begin) * k / num
            corners.append((x + inner * math.cos(angle), y + inner * math.sin(angle)))
        corners.append((x + radius * math.cos(stop), y + radius * math.sin(stop)))
    corners[-1] = end
    return corners


@lru_cache(maxsize=64)
def unit_circle(sides: int) -> FloatArray:
    """(sides, 2) corners of a polygon of area pi that just touches the box [-1, 1]^2.

    Args:
        sides: a multiple of 4.
    """
    angles = np.arange(sides) * (2 * math.pi / sides)
    radii = np.full(sides, inner_radius(QUARTER, sides // 4))
    radii[:: sides // 4] = 1.0
    circle = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    circle.flags.writeable = False
    return circle


def signed_area(polygon: FloatArray) -> float:
    """Area inside (N, 2) corners, positive where they run counter-clockwise."""
    x, y = polygon.T
    return 0.5 * float(x @ np.roll(y, -1) - np.roll(x, -1) @ y)


def inner_radius(turn: float, num: int) -> float:
    """Distance of the corners between a sector's two ends, for the sector's area at radius 1.

    Of ``num`` triangles the first and last have one side 1; the rest have none.
    """
    wanted = turn / math.sin(turn / num)
    if num <= 2:
        return wanted / 2
    return (math.sqrt(1 + (num - 2) * wanted) - 1) / (num - 2)


def _axis_angles(first: float, sweep: float) -> list[float]:
    """Multiples of a quarter turn strictly within an arc, in its direction."""
    low, high = sorted((first, first + sweep))
    inside = range(math.ceil(low / QUARTER + 1e-6), math.floor(high / QUARTER - 1e-6) + 1)
    angles = [k * QUARTER for k in inside]
    return angles if sweep > 0 else angles[::-1]
