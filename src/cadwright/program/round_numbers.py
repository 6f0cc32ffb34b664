"""A program with scaled numbers -> the same with round ones, as a person would have chosen.

In: a program in any lengths, centred on its part, and how far a face may move. Out: the program
with every face on the roundest coordinate that near, and the largest move. Coordinates are made
round, not lengths, so that faces that met still meet; equal ones stay equal and opposite ones
opposite. Not covered: whether the solid still fits (callers measure that).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cadwright.program.grammar import (
    AXES,
    Arc,
    Body,
    Box,
    Circle,
    Corners,
    Cylinder,
    Extrude,
    Face,
    Number,
    Plane,
    Point2,
    Program,
    Push,
    Rect,
    Reset,
    Revolve,
    Rim,
    Segment,
    Sketch,
    SketchOp,
    tidy,
)

LARGEST_GRID = 1000.0
DIGITS = 6  # decimals that are printed


def with_round_numbers(
    program: Program,
    *,
    tolerance: float,
    scale: float = 1.0,
    factors: Mapping[float, float] | None = None,
) -> tuple[Program, float]:
    """Scale a program and make its numbers round.

    Args:
        program: any frame; 0 is the middle of its part.
        tolerance: by how much a face may move, in lengths after the scaling.
        scale: lengths after per length before.
        factors: coordinates (see ``coordinates``) that may move by so many tolerances.

    Returns:
        The program and the largest move of a face or change of a radius.
    """
    rounder = _Rounder(scale, tolerance, factors or {})
    return rounder.program(program), rounder.moved


def coordinates(program: Program) -> list[float]:
    """The distances from the middle, and the diameters, that rounding would touch, each once."""
    rounder = _Rounder(1.0, 0.0, {})
    rounder.program(program)
    return list(rounder.seen)


def roundest(value: float, tolerance: float) -> float:
    """The multiple of the coarsest of 1000, 500, 100, 50, ... that lies within the tolerance."""
    grid, half = LARGEST_GRID, True
    while True:
        near = round(value / grid) * grid
        if abs(near - value) <= tolerance or grid <= 10.0**-DIGITS:
            return round(near, DIGITS)
        grid, half = (grid / 2, False) if half else (grid / 5, True)


@dataclass(slots=True)
class _Rounder:
    """Rounds coordinates and remembers the largest move."""

    scale: float
    tolerance: float
    factors: Mapping[float, float]
    moved: float = 0.0
    seen: dict[float, None] = field(default_factory=dict)

    def program(self, program: Program) -> Program:
        planes = tuple(self.plane(plane) for plane in program.planes)
        bodies = (
            self.body(body, program.planes[body.plane], planes[body.plane])
            for body in program.bodies
        )
        return Program(planes, tuple(bodies))

    def at(self, value: float) -> float:
        """A coordinate, scaled and round."""
        self.seen[key := round(abs(value), DIGITS)] = None
        exact = value * self.scale
        near = roundest(exact, self.tolerance * self.factors.get(key, 1.0))
        if not math.isclose(near, exact, rel_tol=1e-9, abs_tol=1e-9 * self.scale):
            self.moved = max(self.moved, abs(near - exact))
        return near

    def radius(self, value: float) -> Number:
        """A radius whose double is round."""
        return tidy(max(self.at(2 * value), 2 * 10.0**-DIGITS) / 2)

    def size(self, value: float) -> Number:
        """A length that must stay above 0."""
        return tidy(self.at(value) or value * self.scale)

    def point(self, point: Point2, before: Point2 = (0, 0), after: Point2 = (0, 0)) -> Point2:
        """A point, given from ``before`` (unscaled) and wanted from ``after``."""
        x, y = (self.at(point[k] + before[k]) - after[k] for k in (0, 1))
        return tidy(x), tidy(y)

    def middle(self, point: Point2) -> Point2:
        """An arc's middle: nobody chose it, so it only gets fewer digits."""
        fine = self.tolerance / 20
        return (
            tidy(roundest(point[0] * self.scale, fine)),
            tidy(roundest(point[1] * self.scale, fine)),
        )

    def plane(self, plane: Plane) -> Plane:
        x, y, z = (tidy(self.at(value)) for value in plane.origin)
        return Plane(plane.axes, (x, y, z))

    def body(self, body: Body, old: Plane, new: Plane) -> Body:
        x, y, normal = AXES[old.axes]
        base, low = old.origin[normal], new.origin[normal]
        if isinstance(body, Revolve):
            across = 0 if body.axis == "Y" else 1
            at = self.point((body.at, body.at))[across]
            return replace(body, sketch=self.sketch(body.sketch), at=at)
        rims = tuple(Rim(rim.end, rim.kind, self.size(rim.size)) for rim in body.rims)
        if isinstance(body, Extrude):
            height = tidy(self.at(base + body.height) - low)
            if height == 0:
                height = tidy(body.height * self.scale)
            return replace(body, sketch=self.sketch(body.sketch), height=height, rims=rims)
        before = (old.origin[x], old.origin[y])
        after = (new.origin[x], new.origin[y])
        return replace(self._centred(body, base, low, before, after), rims=rims)

    def _centred(
        self, body: Box | Cylinder, base: Number, low: Number, before: Point2, after: Point2
    ) -> Box | Cylinder:
        height = body.size[2] if isinstance(body, Box) else body.height
        middle = base + body.twice_offset / 2
        bottom, top = self._ends(middle, height)
        twice = tidy(bottom + top - 2 * low)
        if isinstance(body, Cylinder):
            center = self.point(body.center, before, after)
            return Cylinder(
                body.plane, twice, center, tidy(top - bottom), self.radius(body.radius), body.mode
            )
        spans = [self._ends(body.center[k] + before[k], body.size[k]) for k in (0, 1)]
        x, y = (tidy((first + last) / 2 - after[k]) for k, (first, last) in enumerate(spans))
        width, depth = (tidy(last - first) for first, last in spans)
        return Box(body.plane, twice, (x, y), (width, depth, tidy(top - bottom)), body.mode)

    def _ends(self, middle: float, length: float) -> tuple[float, float]:
        """Both ends of an interval, kept apart."""
        first, last = self.at(middle - length / 2), self.at(middle + length / 2)
        if last <= first:
            first, last = (middle - length / 2) * self.scale, (middle + length / 2) * self.scale
        return first, last

    def sketch(self, sketch: Sketch) -> Sketch:
        at: Point2 = (0, 0)
        ops: list[SketchOp] = []
        for op in sketch.ops:
            if isinstance(op, Push):
                at = op.point
            elif isinstance(op, Reset):
                at = (0, 0)
            ops.append(self.op(op, at))
        return Sketch(tuple(ops))

    def op(self, op: SketchOp, at: Point2) -> SketchOp:
        if isinstance(op, Push):
            return Push(self.point(op.point))
        if isinstance(op, Circle):
            return Circle(self.radius(op.radius), op.mode)
        if isinstance(op, Rect):
            sides = []
            for middle, length in ((at[0], op.width), (at[1], op.height)):
                side = 2 * (self.at(middle + length / 2) - self.at(middle))
                sides.append(tidy(side if side > 0 else length * self.scale))
            return Rect(sides[0], sides[1], op.mode)
        if isinstance(op, (Segment, Arc)):
            start = None if op.start is None else self.point(op.start)
            end = self.point(op.end)
            if isinstance(op, Segment):
                return Segment(start, end)
            return Arc(start, self.middle(op.middle), end)
        if isinstance(op, Corners):
            return Corners(op.kind, self.size(op.size))
        if isinstance(op, Face):
            return Face(op.plane, self.sketch(op.sketch), op.mode)
        return op
