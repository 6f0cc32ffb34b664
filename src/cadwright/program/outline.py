"""Outlines: the loops that bound an area, as circles, rectangles or chains of edges.

The form between polygons and sketches: the generator draws outlines, search
reads them off slices. Coordinates are plane coordinates in any frame;
``moved`` changes the frame, ``rounded`` the grid. Not covered: finding arcs in
polygons (``synth.sketch`` knows its circles, ``inference.slices`` fits them).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from cadwright.program.arcs import arc_points, signed_area
from cadwright.program.grammar import Arc, Assemble, Close, Point2, Segment, SketchOp

__all__ = [
    "CircleLoop",
    "EdgeLoop",
    "Loop",
    "LoopError",
    "Outline",
    "RectLoop",
    "as_rect",
    "loop_bounds",
    "loop_corners",
    "loop_to_ops",
    "moved",
    "rounded",
    "signed_area",
]

SHORTEST_EDGE = 4.0  # PROGRAM units; shorter edges are noise to a point cloud


@dataclass(frozen=True, slots=True)
class CircleLoop:
    """A full circle."""

    center: Point2
    radius: float


@dataclass(frozen=True, slots=True)
class RectLoop:
    """A rectangle along the plane's axes."""

    center: Point2
    size: Point2


@dataclass(frozen=True, slots=True)
class EdgeLoop:
    """A closed chain: edge i runs from point i to the next, an arc through middle i if given."""

    points: tuple[Point2, ...]
    middles: tuple[Point2 | None, ...]


Loop: TypeAlias = "CircleLoop | RectLoop | EdgeLoop"


@dataclass(frozen=True, slots=True)
class Outline:
    """One connected area: its outer loop and its holes."""

    outer: Loop
    holes: tuple[Loop, ...] = ()


class LoopError(Exception):
    """Internal: a loop degenerates on the grid; the draw is repeated."""


def as_rect(loop: EdgeLoop) -> RectLoop | None:
    """The rectangle that a chain of edges is, or None."""
    if len(loop.points) != 4 or any(middle is not None for middle in loop.middles):
        return None
    corners = np.array(loop.points)
    low, high = corners.min(axis=0), corners.max(axis=0)
    if not (np.isclose(corners, low, atol=1e-3) | np.isclose(corners, high, atol=1e-3)).all():
        return None
    center, size = (low + high) / 2, high - low
    return RectLoop((float(center[0]), float(center[1])), (float(size[0]), float(size[1])))


def loop_bounds(loop: Loop) -> tuple[Point2, Point2]:
    """Lower and upper corner of the polygon that stands for the loop."""
    if isinstance(loop, CircleLoop):
        half_x = half_y = loop.radius
    elif isinstance(loop, RectLoop):
        half_x, half_y = loop.size[0] / 2, loop.size[1] / 2
    else:
        corners = loop_corners(loop)
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return (min(xs), min(ys)), (max(xs), max(ys))
    x, y = loop.center
    return (x - half_x, y - half_y), (x + half_x, y + half_y)


def loop_corners(loop: EdgeLoop) -> list[Point2]:
    """The polygon that stands for a chain of edges.

    Raises:
        InvalidShape: an arc's three points lie in one line.
    """
    corners: list[Point2] = []
    for start, middle, end in zip(
        loop.points, loop.middles, loop.points[1:] + loop.points[:1], strict=True
    ):
        corners.extend([end] if middle is None else arc_points(start, middle, end))
    return corners


def moved(loop: Loop, shift: Point2, scale: float) -> Loop:
    """The loop with every coordinate c as (c - shift) * scale."""

    def move(point: Point2) -> Point2:
        return ((point[0] - shift[0]) * scale, (point[1] - shift[1]) * scale)

    if isinstance(loop, CircleLoop):
        return CircleLoop(move(loop.center), loop.radius * scale)
    if isinstance(loop, RectLoop):
        return RectLoop(move(loop.center), (loop.size[0] * scale, loop.size[1] * scale))
    return EdgeLoop(
        tuple(move(point) for point in loop.points),
        tuple(None if middle is None else move(middle) for middle in loop.middles),
    )


def rounded(loop: Loop) -> Loop:
    """The loop on the integer grid, in its canonical order.

    Raises:
        LoopError: an edge or radius is too small there, or an arc becomes straight.
    """
    if isinstance(loop, CircleLoop):
        radius = round(loop.radius)
        if radius < 2:
            raise LoopError("a circle too small for the grid")
        return CircleLoop(_grid(loop.center), radius)
    if isinstance(loop, RectLoop):
        width, height = round(loop.size[0]), round(loop.size[1])
        if min(width, height) < SHORTEST_EDGE:
            raise LoopError("a rectangle too small for the grid")
        return RectLoop(_grid(loop.center), (width, height))
    points, middles = _merge_short(
        [_grid(point) for point in loop.points],
        [None if middle is None else _grid(middle) for middle in loop.middles],
    )
    first = min(range(len(points)), key=lambda k: points[k])
    return EdgeLoop((*points[first:], *points[:first]), (*middles[first:], *middles[:first]))


def _grid(point: Point2) -> Point2:
    return (round(point[0]), round(point[1]))


def _merge_short(
    points: list[Point2], middles: list[Point2 | None]
) -> tuple[list[Point2], list[Point2 | None]]:
    """Drop edges too short for the grid; arcs too flat for it become straight."""
    k = 0
    while k < len(points):
        after = (k + 1) % len(points)
        if math.dist(points[k], points[after]) < SHORTEST_EDGE:
            if len(points) <= 3:
                raise LoopError("a loop too small for the grid")
            del points[after], middles[k]
            k = max(0, k - 1)
            continue
        k += 1
    for k, middle in enumerate(middles):
        if middle is not None and _too_flat(points[k], middle, points[(k + 1) % len(points)]):
            middles[k] = None
    _drop_straight_corners(points, middles)
    if len(points) < 3 and all(middle is None for middle in middles):
        raise LoopError("a loop without area")
    return points, middles


def _drop_straight_corners(points: list[Point2], middles: list[Point2 | None]) -> None:
    """Remove, in place, the corners between two straight edges in one line."""
    for k in reversed(range(len(points))):
        before, after = points[k - 1], points[(k + 1) % len(points)]
        x, y = points[k]
        cross = (x - before[0]) * (after[1] - y) - (y - before[1]) * (after[0] - x)
        if cross == 0 and middles[k - 1] is None and middles[k] is None and len(points) > 2:
            del points[k], middles[k]


def _too_flat(start: Point2, middle: Point2, end: Point2) -> bool:
    chord = (end[0] - start[0], end[1] - start[1])
    offset = (middle[0] - start[0], middle[1] - start[1])
    sagitta = abs(chord[0] * offset[1] - chord[1] * offset[0]) / math.hypot(*chord)
    return sagitta < 1.5 or min(math.dist(start, middle), math.dist(middle, end)) < 2.0


def loop_to_ops(loop: EdgeLoop) -> tuple[SketchOp, ...]:
    """The chain as sketch operations up to and with ``assemble()``."""
    ops: list[SketchOp] = []
    count = len(loop.points)
    for k, (point, middle) in enumerate(zip(loop.points, loop.middles, strict=True)):
        start = point if k == 0 else None
        end = loop.points[(k + 1) % count]
        if middle is not None:
            ops.append(Arc(start, middle, end))
        elif k < count - 1:
            ops.append(Segment(start, end))
        else:
            ops.append(Close())
    return (*ops, Assemble())
