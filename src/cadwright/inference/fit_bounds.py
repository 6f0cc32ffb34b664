"""A program -> the same program with its bounds on the target's.

In: a program, the bounds of its solid and those of the target (PROGRAM frame). Out: every
position moved and every length scaled along its own axis by the one map that takes the first
bounds to the second, rounded to integers. One closed step, no trying: a decoded part is right in
kind before it is right in size. Circles take the mean of the two scales in their plane. Not
covered: whether the result fits better (the caller scores both), numbers moved singly (refine).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from cadwright.program.grammar import (
    Arc,
    Box,
    Circle,
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
    Segment,
    Sketch,
    SketchOp,
)
from cadwright.program.program_to_mesh import AXES
from cadwright.types import FloatArray

LARGEST_SCALE = 3.0  # beyond it, or below its inverse, the program shows another part


def fit_bounds(program: Program, bounds: FloatArray, target: FloatArray) -> Program | None:
    """Put a program's bounds on the target's.

    Args:
        program: PROGRAM frame.
        bounds: (2, 3) lower and upper corner of its solid.
        target: (2, 3) those wanted.

    Returns:
        The program with integers as numbers; None where the bounds agree within half a unit
        already, or differ by more than ``LARGEST_SCALE`` along some axis, or where a body is
        revolved.
    """
    if any(isinstance(body, Revolve) for body in program.bodies):
        return None
    extents, wanted = bounds[1] - bounds[0], target[1] - target[0]
    if extents.min() <= 0 or np.abs(bounds - target).max() <= 0.5:
        return None
    scale = wanted / extents
    if max(scale.max(), 1 / max(scale.min(), 1e-9)) > LARGEST_SCALE:
        return None
    shift = target[0] - bounds[0] * scale
    planes = tuple(_plane(plane, scale, shift) for plane in program.planes)
    bodies = tuple(
        _body(body, program.planes[body.plane], scale, shift)
        for body in program.bodies
        if not isinstance(body, Revolve)
    )
    return Program(planes, bodies)


@dataclass(frozen=True, slots=True)
class _Map:
    """What happens to numbers along a plane's x, its y and its normal.

    A coordinate c in the plane becomes c * scale + shift, a length only scales.
    """

    scale: tuple[float, float, float]
    shift: Point2

    def point(self, point: Point2) -> Point2:
        x, y = (round(c * s + d) for c, s, d in zip(point, self.scale, self.shift, strict=False))
        return (x, y)

    def length(self, value: Number, axis: int) -> int:
        """One that is there never vanishes."""
        scaled = round(value * self.scale[axis])
        return scaled if scaled or not value else int(math.copysign(1, value))

    def radius(self, value: Number) -> int:
        return max(round(value * math.sqrt(self.scale[0] * self.scale[1])), 1)


def _plane(plane: Plane, scale: FloatArray, shift: FloatArray) -> Plane:
    """The plane moved along its normal; within it, what is drawn on it moves."""
    normal = AXES[plane.axes][2]
    origin = list(plane.origin)
    origin[normal] = round(origin[normal] * scale[normal] + shift[normal])
    return Plane(plane.axes, (origin[0], origin[1], origin[2]))


def _body(
    body: Extrude | Box | Cylinder, plane: Plane, scale: FloatArray, shift: FloatArray
) -> Extrude | Box | Cylinder:
    axes = AXES[plane.axes]
    along = (float(scale[axes[0]]), float(scale[axes[1]]), float(scale[axes[2]]))
    # Sketches count from the plane's origin, which stays where it is in the plane.
    x, y = (plane.origin[axis] * (scale[axis] - 1) + shift[axis] for axis in axes[:2])
    by = _Map(along, (float(x), float(y)))
    if isinstance(body, Extrude):
        sketch = Sketch(tuple(_sketch(body.sketch, by)))
        return replace(body, sketch=sketch, height=by.length(body.height, 2))
    offset, center = by.length(body.twice_offset, 2), by.point(body.center)
    if isinstance(body, Box):
        width, depth, height = (by.length(side, axis) for axis, side in enumerate(body.size))
        size = (width, depth, height)
        return replace(body, twice_offset=offset, center=center, size=size)
    height, radius = by.length(body.height, 2), by.radius(body.radius)
    return replace(body, twice_offset=offset, center=center, height=height, radius=radius)


def _sketch(sketch: Sketch, by: _Map) -> Iterator[SketchOp]:
    """The operations of a sketch; one that stands at the origin is pushed where it now belongs."""
    moved, still = by, replace(by, shift=(0.0, 0.0))
    origin = by.point((0, 0))
    at_origin = True  # of the plane; else at a pushed point, from which inner coordinates count
    for op in sketch.ops:
        inner = moved if at_origin else still
        if isinstance(op, Push):
            at_origin = False
            yield Push(by.point(op.point))
        elif isinstance(op, Reset):
            at_origin = True
            yield op
        elif isinstance(op, (Segment, Arc)):
            yield _edge(op, inner)
        elif isinstance(op, (Circle, Rect)):
            if at_origin and origin != (0, 0):
                at_origin = False
                yield Push(origin)
            yield _shape(op, by)
        elif isinstance(op, Face):
            yield replace(op, sketch=Sketch(tuple(_sketch(op.sketch, inner))))
        else:
            yield op


def _shape(op: Circle | Rect, by: _Map) -> Circle | Rect:
    if isinstance(op, Circle):
        return replace(op, radius=by.radius(op.radius))
    return replace(op, width=by.length(op.width, 0), height=by.length(op.height, 1))


def _edge(op: Segment | Arc, by: _Map) -> Segment | Arc:
    start, end = None if op.start is None else by.point(op.start), by.point(op.end)
    if isinstance(op, Arc):
        return replace(op, start=start, middle=by.point(op.middle), end=end)
    return replace(op, start=start, end=end)
