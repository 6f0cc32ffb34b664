"""Outlines whose corners are all cut alike -> a sketch with sharp corners and one cut of them.

In: an outline as read off a slice. Out: an extrusion of the superset: straight edges, then
``vertices().fillet(r)`` or ``.chamfer(c)``, then the holes; a rounded rectangle takes three
numbers so, and twenty as a chain of edges. Not covered: outlines of which some corners are sharp.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cadwright.inference.search.outline_on_grid import on_step, point_on_step
from cadwright.program.arcs import InvalidShape, circle_through
from cadwright.program.grammar import (
    Circle,
    Corners,
    Cut,
    Extrude,
    Face,
    Number,
    Point2,
    Push,
    Rect,
    Reset,
    Sketch,
    SketchOp,
    tidy,
)
from cadwright.program.outline import (
    CircleLoop,
    EdgeLoop,
    Outline,
    RectLoop,
    as_rect,
    loop_to_ops,
)
from cadwright.types import FloatArray

ALIKE = 0.12  # share of the mean by which the sizes of the cuts may differ, and 0.6 units
SMALLEST_CUT = 2.0  # PROGRAM units
ASKEW = 0.12  # sine of the angle by which an arc may miss its neighbours' directions


def with_cut_corners(outline: Outline, height: Number, step: float) -> Extrude | None:
    """The extrusion of an outline whose corners are all rounded or chamfered; None if not.

    Args:
        outline: PROGRAM units.
        height: of the body.
        step: what its numbers are multiples of.
    """
    loop = outline.outer
    if not isinstance(loop, EdgeLoop):
        return None
    for kind in ("fillet", "chamfer"):
        found = _sharp(loop, kind)
        if found is None:
            continue
        corners, size = found
        points = tuple(point_on_step((x, y), step) for x, y in corners.tolist())
        whole = EdgeLoop(points, (None,) * len(points))
        rect = as_rect(whole)
        ops: tuple[SketchOp, ...] = loop_to_ops(whole)
        if rect is not None:
            ops = (Rect(*_tidy(rect.size)),)
            if rect.center != (0, 0):
                ops = (Push(_tidy(rect.center)), *ops, Reset())
        ops = (*ops, Corners(kind, on_step(size, step)), *_holes(outline))
        return Extrude(0, Sketch(ops), height)
    return None


def _sharp(loop: EdgeLoop, kind: Cut) -> tuple[FloatArray, float] | None:
    """The corners before they were cut, and by how much they were."""
    count = len(loop.points)
    if count < 6 or count % 2:
        return None
    points = np.array(loop.points, dtype=np.float64)
    arcs = [middle is not None for middle in loop.middles]
    firsts = (0, 1) if kind == "chamfer" else (0 if arcs[0] else 1,)
    for first in firsts:  # the edges first, first + 2, ... are the cuts
        cuts = list(range(first, count, 2))
        if any(arcs[k] != (kind == "fillet" and k in cuts) for k in range(count)):
            continue
        found = [_corner(loop, points, k, kind) for k in cuts]
        sizes = np.array([one[1] for one in found if one is not None])
        if len(sizes) < len(cuts):
            continue
        size = float(sizes.mean())
        if size >= SMALLEST_CUT and np.abs(sizes - size).max() <= ALIKE * size + 0.6:
            return np.array([one[0] for one in found if one is not None]), size
    return None


def _corner(
    loop: EdgeLoop, points: FloatArray, k: int, kind: Cut
) -> tuple[FloatArray, float] | None:
    """Where the edges beside cut ``k`` meet, and its size; None if it is no such cut."""
    count = len(points)
    a, b = points[k], points[(k + 1) % count]
    before, after = a - points[k - 1], points[(k + 2) % count] - b
    lengths = float(np.linalg.norm(before)), float(np.linalg.norm(after))
    if min(lengths) == 0:
        return None
    before, after = before / lengths[0], after / lengths[1]
    cross = float(before[0] * after[1] - before[1] * after[0])
    if abs(cross) < 0.2:
        return None
    gap = b - a
    reach = float(gap[0] * after[1] - gap[1] * after[0]) / cross
    back = float(gap[0] * before[1] - gap[1] * before[0]) / cross
    if reach <= 0 or back >= 0 or abs(reach + back) > 0.25 * reach + 0.8:
        return None  # the edges meet elsewhere, or not as far from one end as from the other
    corner = a + reach * before
    if kind == "chamfer":
        return corner, (reach - back) / 2
    middle = loop.middles[k]
    assert middle is not None
    try:
        x, y, radius = circle_through(tuple(a), middle, tuple(b))
    except InvalidShape:
        return None
    for end, along in ((a, before), (b, after)):
        if abs(float(np.dot(end - (x, y), along))) > ASKEW * radius + 0.5:
            return None
    turn = math.acos(float(np.clip(np.dot(before, after), -1, 1)))
    return corner, (reach - back) / 2 / math.tan(turn / 2)


def _holes(outline: Outline) -> Iterator[SketchOp]:
    """After the corners, which are selected, each hole needs a place of its own."""
    for hole in outline.holes:
        if isinstance(hole, EdgeLoop):
            yield Reset()
            yield Face(0, Sketch(loop_to_ops(hole)), "s")
            continue
        yield Push(_tidy(hole.center))
        if isinstance(hole, CircleLoop):
            yield Circle(tidy(hole.radius), "s")
        else:
            assert isinstance(hole, RectLoop)
            yield Rect(*_tidy(hole.size), "s")


def _tidy(point: Point2) -> Point2:
    return tidy(point[0]), tidy(point[1])
