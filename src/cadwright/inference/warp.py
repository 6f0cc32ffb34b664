"""A program -> the same program with its coordinates moved by one map along each axis.

In: a program and three growing functions of a coordinate, one for each world axis (PROGRAM
frame). Out: every edge, side and height where the maps take it, rounded to integers; circles
take the mean of their two sides. Not covered: where the maps come from (``fit_bounds``,
``fit_levels``), and bodies that are revolved or have their corners cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from cadwright.program.grammar import (
    AXES,
    Arc,
    Body,
    Box,
    Circle,
    Close,
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
    Segment,
    Sketch,
    SketchOp,
)

AxisMap: TypeAlias = "Callable[[float], float]"
AxisMaps: TypeAlias = "tuple[AxisMap, AxisMap, AxisMap]"
IntPoint: TypeAlias = "tuple[int, int]"
ORIGIN: IntPoint = (0, 0)
THINNEST = 0.5  # units; half of a side that the maps would close


class NotWarpable(ValueError):
    """The program has a body that no map along the axes keeps what it is."""


def warp_program(program: Program, maps: AxisMaps) -> Program:
    """Move all coordinates of a program.

    Args:
        program: PROGRAM frame.
        maps: of x, y and z, each growing.

    Returns:
        The program with integers as numbers; nothing that had a size has lost it.

    Raises:
        NotWarpable: a body is revolved, or a sketch's corners are cut.
    """
    planes = tuple(_plane(plane, maps) for plane in program.planes)
    bodies = tuple(
        _Warp(maps, program.planes[body.plane], planes[body.plane]).body(body)
        for body in program.bodies
    )
    return Program(planes, bodies)


def _plane(plane: Plane, maps: AxisMaps) -> Plane:
    """The plane moved along its normal; within it, what is drawn on it moves."""
    normal = AXES[plane.axes][2]
    origin = list(plane.origin)
    origin[normal] = round(maps[normal](origin[normal]))
    return Plane(plane.axes, (origin[0], origin[1], origin[2]))


@dataclass(frozen=True, slots=True)
class _Warp:
    """The maps as they are seen from a plane, which itself goes from ``old`` to ``new``."""

    maps: AxisMaps
    old: Plane
    new: Plane

    def body(self, body: Body) -> Body:
        if isinstance(body, Revolve):
            raise NotWarpable("a revolved body")
        if isinstance(body, Extrude):
            sketch = Sketch(tuple(self.sketch(body.sketch, ORIGIN, ORIGIN)))
            return replace(body, sketch=sketch, height=self._height(body.height))
        offset, height = self._between(body.twice_offset, _tall(body))
        if isinstance(body, Box):
            center, sides = self._around(body.center, body.size[0] / 2, body.size[1] / 2)
            width, depth = _side(2 * sides[0]), _side(2 * sides[1])
            return replace(body, twice_offset=offset, center=center, size=(width, depth, height))
        center, sides = self._around(body.center, body.radius, body.radius)
        radius = _radius(sides)
        return replace(body, twice_offset=offset, center=center, height=height, radius=radius)

    def along(self, coordinate: float, axis: int) -> float:
        """A coordinate in the plane (axis 0 and 1), or over it (2), moved.

        Sketches count from the plane's origin, which stays where it is in the plane.
        """
        world = AXES[self.old.axes][axis]
        moved = self.maps[world](coordinate + self.old.origin[world])
        return moved - self.new.origin[world]

    def point(self, point: Point2) -> tuple[float, float]:
        return (self.along(point[0], 0), self.along(point[1], 1))

    def _height(self, height: Number) -> int:
        moved = round(self.along(height, 2) - self.along(0, 2))
        return moved if moved else int(math.copysign(1, height))

    def _between(self, twice_offset: Number, tall: Number) -> tuple[int, int]:
        """Twice the new centre's height over the plane, and the new height."""
        below = self.along((twice_offset - tall) / 2, 2)
        above = self.along((twice_offset + tall) / 2, 2)
        lower, height = round(below), round(above - below)
        if height < 1:  # one unit, where the middle is
            lower, height = math.floor((below + above) / 2), 1
        return 2 * lower + height, height

    def _around(
        self, center: Point2, half_x: float, half_y: float
    ) -> tuple[IntPoint, tuple[float, float]]:
        """The new centre of a shape, and its new half sides."""
        x, y = center
        low, high = self.point((x - half_x, y - half_y)), self.point((x + half_x, y + half_y))
        middle = (round((low[0] + high[0]) / 2), round((low[1] + high[1]) / 2))
        half_sides = (high[0] - low[0]) / 2, (high[1] - low[1]) / 2
        return middle, (max(half_sides[0], THINNEST), max(half_sides[1], THINNEST))

    def sketch(self, sketch: Sketch, old: Point2, new: IntPoint) -> Iterator[SketchOp]:
        """The operations of a sketch whose own origin goes from ``old`` to ``new``.

        A shape is pushed to where its sides put its centre, so pushes may become more.
        """
        at: Point2 = old  # where inner coordinates count from
        wanted = selected = ORIGIN  # from the new origin: what should be, and what is
        for op in sketch.ops:
            if isinstance(op, (Push, Reset)):
                at, wanted = old, ORIGIN
                if isinstance(op, Push):
                    at = (old[0] + op.point[0], old[1] + op.point[1])
                    wanted = _from(new, self.point(at))
                continue
            if isinstance(op, (Circle, Rect)):
                place, op = self._shape(op, at)
                stand = _from(new, place)
            else:
                stand = selected if isinstance(op, Close) else wanted
                op = self._edge(op, at, (new[0] + wanted[0], new[1] + wanted[1]))
            if stand != selected:
                selected = stand
                yield Reset() if stand == ORIGIN else Push(stand)
            yield op

    def _shape(self, op: Circle | Rect, at: Point2) -> tuple[IntPoint, Circle | Rect]:
        if isinstance(op, Circle):
            center, sides = self._around(at, op.radius, op.radius)
            return center, replace(op, radius=_radius(sides))
        center, sides = self._around(at, op.width / 2, op.height / 2)
        return center, replace(op, width=_side(2 * sides[0]), height=_side(2 * sides[1]))

    def _edge(self, op: SketchOp, at: Point2, stand: IntPoint) -> SketchOp:
        """What is drawn from the point ``at``, which has become ``stand``."""

        def moved(point: Point2) -> IntPoint:
            return _from(stand, self.point((at[0] + point[0], at[1] + point[1])))

        if isinstance(op, Corners):
            raise NotWarpable("a sketch whose corners are cut")
        if isinstance(op, Face):
            return replace(op, sketch=Sketch(tuple(self.sketch(op.sketch, at, stand))))
        if not isinstance(op, (Segment, Arc)):
            return op
        start, end = None if op.start is None else moved(op.start), moved(op.end)
        if isinstance(op, Arc):
            return replace(op, start=start, middle=moved(op.middle), end=end)
        return replace(op, start=start, end=end)


def _tall(body: Box | Cylinder) -> Number:
    return body.size[2] if isinstance(body, Box) else body.height


def _side(length: float) -> int:
    return max(round(length), 1)


def _radius(half_sides: tuple[float, float]) -> int:
    return _side(math.sqrt(half_sides[0] * half_sides[1]))


def _from(origin: IntPoint, point: tuple[float, float]) -> IntPoint:
    return (round(point[0]) - origin[0], round(point[1]) - origin[1])
