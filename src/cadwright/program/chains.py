"""Chains of edges, as sketches draw them: are they closed loops, and where do they lie?

In: edges in the order drawn. Out: a loop that runs counter-clockwise, or the reason why it has
no meaning; loops with their corners rounded or cut. Touching is judged on the exact lines and
arcs. Loops that cross themselves are found later, on their polygons (``sketch_to_region``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cadwright.program.arcs import ArcShape, InvalidShape, arc_corners, arc_shape
from cadwright.program.grammar import Point2
from cadwright.types import FloatArray

NEAR = 1e-6  # what counts as the same point, in the unit of the drawing
CHECK_SIDES = 64  # of the polygons by which loops are told to lie in one another


class Edge(NamedTuple):
    """A straight edge, or an arc through ``middle``."""

    start: Point2
    middle: Point2 | None
    end: Point2


Chain: TypeAlias = "tuple[Edge, ...]"


def edges_to_loop(edges: Sequence[Edge]) -> Chain:
    """The closed loop that the edges are, turned counter-clockwise.

    Raises:
        InvalidShape: it is open, has no area, an edge has no length, it touches itself, or two
            edges that meet in a corner meet once more.
    """
    if edges[-1].end != edges[0].start:
        raise InvalidShape("a loop of edges is not closed")
    if any(edge.middle is None and edge.start == edge.end for edge in edges):
        raise InvalidShape("an edge has no length")
    area = loop_area(edges)
    if abs(area) < 1e-9:
        raise InvalidShape("a loop of edges encloses no area")
    if _touches_itself(edges):
        raise InvalidShape("a loop of edges touches itself")
    if any(_cross_after_corner(edges[k - 1], edges[k]) for k in range(len(edges))):
        raise InvalidShape("a loop of edges crosses itself at a corner")
    if area > 0:
        return tuple(edges)
    return tuple([Edge(edge.end, edge.middle, edge.start) for edge in reversed(edges)])


def loop_area(edges: Sequence[Edge]) -> float:
    """Exact area inside, positive where the edges run counter-clockwise."""
    double = 0.0
    for start, middle, end in edges:
        double += start[0] * end[1] - end[0] * start[1]
        if middle is not None:
            arc = arc_shape(start, middle, end)
            double += (arc.sweep - math.sin(arc.sweep)) * arc.radius**2
    return double / 2


def loop_to_corners(loop: Sequence[Edge], sides: Sequence[int]) -> list[Point2]:
    """The polygon that stands for a loop.

    Args:
        loop: closed.
        sides: of a full turn, one for each edge; of no meaning for straight ones.
    """
    corners: list[Point2] = []
    for edge, num in zip(loop, sides, strict=True):
        if edge.middle is None:
            corners.append(edge.end)
        else:
            corners += arc_corners(edge.start, edge.middle, edge.end, num)
    return corners


def sort_loops(loops: Sequence[Chain]) -> tuple[tuple[Chain, ...], tuple[Chain, ...]]:
    """Loops of one sketch as CadQuery takes them: those within the first one are holes.

    Returns:
        The loops around an area, the first of them first, and the holes.

    Raises:
        InvalidShape: a loop lies around the first one.
    """
    first, *others = loops
    outer, holes = [first], list[Chain]()
    for other in others:
        if _is_within(first, other):
            raise InvalidShape("a chain of edges lies around the first one")
        (holes if _is_within(other, first) else outer).append(other)
    return tuple(outer), tuple(holes)


def cut_corners(loop: Chain, kind: Literal["fillet", "chamfer"], size: float) -> Chain:
    """A loop of straight edges with each corner replaced by an arc or a straight edge.

    Args:
        loop: closed, straight edges only.
        kind: an arc of radius ``size``, or an edge between the points ``size`` from the corner.
        size: in the unit of the drawing.

    Raises:
        InvalidShape: two cuts do not fit on an edge.
    """
    corners = [_cut_corner(loop[k - 1], loop[k], kind, size) for k in range(len(loop))]
    edges: list[Edge] = []
    for k, edge in enumerate(loop):
        before, after = corners[k], corners[(k + 1) % len(loop)]
        free = math.dist(edge.start, edge.end) - _reach(before, edge.start)
        free -= _reach(after, edge.end)
        if free < -NEAR:
            raise InvalidShape(f"a {kind} of {size:g} does not fit between two corners")
        start = edge.start if before is None else before.end
        end = edge.end if after is None else after.start
        if before is not None:
            edges.append(before)
        if free > NEAR:
            edges.append(Edge(start, None, end))
    for k, edge in enumerate(edges):  # where nothing is left between two cuts they meet in a point
        edges[k] = edge._replace(end=edges[(k + 1) % len(edges)].start)
    return tuple(edges)


def _reach(cut: Edge | None, corner: Point2) -> float:
    return 0.0 if cut is None else math.dist(cut.start, corner)


def _cut_corner(before: Edge, after: Edge, kind: str, size: float) -> Edge | None:
    """What replaces the corner between two edges; None where they lie in one line."""
    x, y = after.start
    a, b = math.dist(before.start, (x, y)), math.dist(after.end, (x, y))
    ux, uy = (before.start[0] - x) / a, (before.start[1] - y) / a
    vx, vy = (after.end[0] - x) / b, (after.end[1] - y) / b
    half = math.atan2(abs(ux * vy - uy * vx), ux * vx + uy * vy) / 2
    if half > math.pi / 2 - NEAR:
        return None
    reach = size if kind == "chamfer" else size / math.tan(half)
    start, end = (x + reach * ux, y + reach * uy), (x + reach * vx, y + reach * vy)
    if kind == "chamfer":
        return Edge(start, None, end)
    depth = size * (1 / math.sin(half) - 1) / (2 * math.cos(half))
    return Edge(start, (x + depth * (ux + vx), y + depth * (uy + vy)), end)


def _is_within(inner: Chain, outer: Chain) -> bool:
    """Whether all ends and middles of a loop's edges lie in another loop or on it."""
    corners = np.array(loop_to_corners(outer, [CHECK_SIDES] * len(outer)))
    points = np.array([point for edge in inner for point in (edge.start, _middle(edge))])
    low, high = np.roll(corners, 1, axis=0), corners
    x, y = points[:, 0, None], points[:, 1, None]
    spans = (low[:, 1] <= y) != (high[:, 1] <= y)
    rise = np.where(high[:, 1] == low[:, 1], 1.0, high[:, 1] - low[:, 1])
    at = low[:, 0] + (y - low[:, 1]) / rise * (high[:, 0] - low[:, 0])
    inside = ((spans & (x < at)).sum(axis=1) % 2).astype(bool)
    return bool((inside | (_gaps_to_segments(points, low, high).min(axis=1) < NEAR)).all())


def _middle(edge: Edge) -> Point2:
    if edge.middle is not None:
        return edge.middle
    return ((edge.start[0] + edge.end[0]) / 2, (edge.start[1] + edge.end[1]) / 2)


def _gaps_to_segments(points: FloatArray, start: FloatArray, end: FloatArray) -> FloatArray:
    """(P, E) distance of each point from each segment."""
    along = end - start
    offset = points[:, None] - start
    square = np.maximum((along * along).sum(axis=1), 1e-12)
    share = ((offset * along).sum(axis=2) / square).clip(0, 1)
    gap = offset - share[..., None] * along
    return np.asarray(np.sqrt((gap * gap).sum(axis=2)))


def _touches_itself(edges: Sequence[Edge]) -> bool:
    """Whether a corner or an arc's middle lies on an edge that it is no part of."""
    arcs = tuple([k for k, edge in enumerate(edges) if edge.middle is not None])
    shapes = [arc_shape(*edges[k]) for k in arcs]
    corners = [edge.start for edge in edges]
    middles = [edges[k].middle for k in arcs]
    marks = np.array(corners + middles, dtype=np.float64).view(np.complex128)  # (M, 1) points
    start = marks[: len(corners), 0]
    along = np.concatenate([start[1:], start[:1]]) - start
    # from here in units of each edge: its start is 0, its end 1
    place = (marks - start) / np.where(along == 0, 1e-6, along)
    gap = np.abs(place - np.minimum(np.maximum(place.real, 0.0), 1.0)) * np.abs(along)
    near = gap < NEAR
    if arcs:
        circles = np.array([(arc.x, arc.y) for arc in shapes]).view(np.complex128)[:, 0]
        radii = np.array([arc.radius for arc in shapes])
        near[:, arcs] = np.abs(np.abs(marks - circles) - radii) < NEAR
    near &= _strangers(len(corners), arcs)
    if not near.any():
        return False
    for mark, edge in np.argwhere(near).tolist():
        if edge not in arcs or _is_on_arc(marks[mark, 0], shapes[arcs.index(edge)]):
            return True
    return False


def _cross_after_corner(before: Edge, after: Edge) -> bool:
    """Whether two edges that meet in a corner meet again, as an arc and its chord's line may.

    Too little to show in a polygon, and enough for OpenCASCADE to call the solid broken.
    """
    if before.middle is None and after.middle is None:
        return False
    if before.middle is None:
        return _line_meets_arc(after.start, before.start, arc_shape(*after))
    if after.middle is None:
        return _line_meets_arc(after.start, after.end, arc_shape(*before))
    first, second = arc_shape(*before), arc_shape(*after)
    corner, base = complex(*after.start), complex(first.x, first.y)
    axis = complex(second.x, second.y) - base
    if abs(axis) < NEAR:
        return False
    again = base + axis * ((corner - base) / axis).conjugate()
    if abs(again - corner) < NEAR:
        return False
    return _is_on_arc(again, first, -NEAR) and _is_on_arc(again, second, -NEAR)


def _line_meets_arc(corner: Point2, end: Point2, arc: ArcShape) -> bool:
    """Whether the line from a corner, where it meets an arc, meets that arc again."""
    start = complex(*corner)
    line = complex(*end) - start
    step = 2 * ((complex(arc.x, arc.y) - start) * line.conjugate()).real / abs(line) ** 2
    if not NEAR < step * abs(line) < abs(line) - NEAR:
        return False
    return _is_on_arc(start + step * line, arc, -NEAR)


@lru_cache(maxsize=1024)
def _strangers(num: int, arcs: tuple[int, ...]) -> NDArray[np.bool_]:
    """(corners and arcs' middles, edges) bool: whether a mark is no part of an edge."""
    apart = np.ones((num + len(arcs), num), dtype=bool)
    own = range(num)
    apart[own, own] = apart[own, [k - 1 for k in own]] = False
    apart[range(num, num + len(arcs)), arcs] = False
    return apart


def _is_on_arc(point: complex, arc: ArcShape, slack: float = NEAR) -> bool:
    """Whether a point of an arc's circle lies on the arc, up to so far beyond its ends."""
    offset = point - complex(arc.x, arc.y)
    turn = math.atan2(offset.imag, offset.real) - arc.first
    turn = turn * math.copysign(1.0, arc.sweep) % (2 * math.pi)
    beyond = slack / arc.radius
    if beyond < 0:
        return -beyond < turn < abs(arc.sweep) + beyond
    return turn <= abs(arc.sweep) + beyond or turn >= 2 * math.pi - beyond
