"""Sketch -> the areas it adds and cuts, in order: CadQuery's sketch state, kept in one place.

In: a sketch of the dialect. Out: what both the fast kernel and the grid draw, each in its own
way: discs, rectangles, loops of edges and areas of their own, each at its selected point. A
drawing without meaning raises InvalidShape here for both. Plane coordinates, any frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from cadwright.program.arcs import InvalidShape
from cadwright.program.chains import Chain, Edge, cut_corners, edges_to_loop, sort_loops
from cadwright.program.grammar import (
    Arc,
    Assemble,
    Circle,
    Close,
    Corners,
    Face,
    Mode,
    Point2,
    Push,
    Rect,
    Reset,
    Segment,
    Sketch,
    SketchOp,
)


@dataclass(frozen=True, slots=True)
class Disc:
    """A circle's area."""

    at: Point2
    radius: float


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle's area, centred on its point."""

    at: Point2
    size: Point2


@dataclass(frozen=True, slots=True)
class Enclosed:
    """What loops of edges enclose, moved by a point; all loops run counter-clockwise."""

    at: Point2
    outer: tuple[Chain, ...]
    holes: tuple[Chain, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The area of another sketch, moved by a point."""

    at: Point2
    steps: Steps


Area: TypeAlias = "Disc | Block | Enclosed | Group"


class Step(NamedTuple):
    """An area that is added ('a') or cut ('s')."""

    mode: Mode
    area: Area


Steps: TypeAlias = "tuple[Step, ...]"


def sketch_to_areas(sketch: Sketch) -> Steps:
    """What a sketch adds and cuts, in order.

    Raises:
        InvalidShape: a loop is open, touches itself or has no area, an arc is impossible, the
            first area is to be cut, or corners are cut where they do not fit.
    """
    return _Reader().read(sketch)


def loops_of(steps: Steps) -> Iterator[Chain]:
    """All loops of edges, those of inner sketches too."""
    for _, area in steps:
        if isinstance(area, Enclosed):
            yield from area.outer
            yield from area.holes
        elif isinstance(area, Group):
            yield from loops_of(area.steps)


class _Reader:
    """The state CadQuery's Sketch keeps: the areas so far, the selected point, the edges."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.at: Point2 | None = (0, 0)  # None while corners are selected
        self.is_selected = False  # a pushed point is a selection, also at the origin
        self.chains: list[list[Edge]] = []

    def read(self, sketch: Sketch) -> Steps:
        for op in sketch.ops:
            self._apply(op)
        return tuple(self.steps)

    def _apply(self, op: SketchOp) -> None:
        if isinstance(op, Push):
            self.at, self.is_selected = op.point, True
        elif isinstance(op, Reset):
            self.at, self.is_selected = (0, 0), False
        elif isinstance(op, (Segment, Arc)):
            self._draw(op)
        elif isinstance(op, Close):  # CadQuery goes back to where the first chain began
            self.chains[-1].append(Edge(self.chains[-1][-1].end, None, self.chains[0][0].start))
        elif isinstance(op, Corners):
            self._cut_corners(op)
        else:
            self._add(op)

    def _draw(self, op: Segment | Arc) -> None:
        """Go on from the open chain; a start elsewhere opens a new one."""
        start = op.start
        if start is None:
            start = self.chains[-1][-1].end
        elif not (self.chains and self.chains[-1][-1].end == start):
            self.chains.append([])
        self.chains[-1].append(Edge(start, op.middle if isinstance(op, Arc) else None, op.end))

    def _add(self, op: Circle | Rect | Face | Assemble) -> None:
        if self.at is None:
            raise InvalidShape("corners are selected where a point should be")
        if op.mode == "s" and not self.steps:
            raise InvalidShape("there is nothing to cut from")
        self.steps.append(Step(op.mode, self._area(op, self.at)))

    def _area(self, op: Circle | Rect | Face | Assemble, at: Point2) -> Area:
        if isinstance(op, Circle):
            return Disc(at, op.radius)
        if isinstance(op, Rect):
            return Block(at, (op.width, op.height))
        if isinstance(op, Face):
            return Group(at, sketch_to_areas(op.sketch))
        loops = [edges_to_loop(chain) for chain in self.chains]
        if len(loops) == 1:
            return Enclosed(at, (loops[0],), ())
        return Enclosed(at, *sort_loops(loops))

    def _cut_corners(self, op: Corners) -> None:
        """Replace the one straight-edged area so far."""
        if len(self.steps) != 1 or self.is_selected:
            raise InvalidShape("corners are cut right after one outline, with no point selected")
        area = self.steps[0].area
        if isinstance(area, Block):
            area = Enclosed(area.at, (_rectangle(area.size),), ())
        if not isinstance(area, Enclosed) or len(area.outer) != 1 or area.holes:
            raise InvalidShape("only the corners of one outline can be cut")
        (loop,) = area.outer
        if any(edge.middle is not None for edge in loop):
            raise InvalidShape("only corners between straight edges can be cut")
        cut = cut_corners(loop, op.kind, op.size)
        self.steps = [Step("a", Enclosed(area.at, (cut,), ()))]
        self.at, self.is_selected = None, True


def _rectangle(size: Point2) -> Chain:
    x, y = size[0] / 2, size[1] / 2
    corners: list[Point2] = [(-x, -y), (x, -y), (x, y), (-x, y)]
    return tuple(
        [Edge(a, None, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
    )
