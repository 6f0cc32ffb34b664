"""Program -> mesh by the fast kernel (manifold3d), in this process, in about a millisecond.

Round shapes become polygons of 64 sides a turn, 128 where walls may be thin.
What OpenCASCADE would refuse (a loop that crosses or touches itself or does not
close, an arc through points in line) is INVALID here too. Every answer is a
``BuildResult``; lengths stay in the program's own frame.
"""

from __future__ import annotations

import math
import time

import manifold3d as m3
import numpy as np

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.program.grammar import (
    Arc,
    Assemble,
    Body,
    Circle,
    Close,
    Cylinder,
    Extrude,
    Face,
    Plane,
    Point2,
    Program,
    Push,
    Rect,
    Reset,
    Segment,
    Sketch,
    SketchOp,
)
from cadwright.types import BuildResult, FloatArray, Outcome

CIRCLE_SIDES = 64  # a multiple of 4 keeps extents exact
# Where circles or arcs bound a circular hole the wall may be thin, and 64 sides show; OpenCASCADE
# makes 126 at an angular tolerance of 0.1.
THIN_WALL_SIDES = 128
ARC_STEP = 2 * math.pi / THIN_WALL_SIDES
# columns: the world axes of a plane's x, y and normal
AXES = {"XY": (0, 1, 2), "YZ": (1, 2, 0), "ZX": (2, 0, 1)}


class InvalidShape(Exception):
    """Internal: the drawing has no meaning; becomes ``Outcome.INVALID``."""


def program_to_mesh(program: Program) -> BuildResult:
    """Build a program's solid.

    Returns:
        OK with the mesh and its volume, EMPTY if nothing is left, INVALID with
        the reason if a sketch or body has no meaning. Never raises for a parsed program.
    """
    start = time.perf_counter()
    try:
        solid = program_to_manifold(program)
    except InvalidShape as error:
        return BuildResult(Outcome.INVALID, message=str(error), seconds=time.perf_counter() - start)
    volume = solid.volume()
    seconds = time.perf_counter() - start
    if solid.status() != m3.Error.NoError:
        return BuildResult(
            Outcome.INVALID, message=f"kernel: {solid.status().name}", seconds=seconds
        )
    if solid.is_empty() or volume < 1e-9:
        return BuildResult(Outcome.EMPTY, message="the program leaves no volume", seconds=seconds)
    return BuildResult(
        Outcome.OK, manifold_to_mesh(solid), volume=volume, seconds=time.perf_counter() - start
    )


def program_to_manifold(program: Program) -> m3.Manifold:
    """The union of the bodies.

    Raises:
        InvalidShape: a sketch or a body has no meaning.
    """
    bodies = [body_to_manifold(body, program.planes[body.plane]) for body in program.bodies]
    return bodies[0] if len(bodies) == 1 else m3.Manifold.batch_boolean(bodies, m3.OpType.Add)


def body_to_manifold(body: Body, plane: Plane) -> m3.Manifold:
    """One body, standing where its plane puts it."""
    if isinstance(body, Extrude):
        region = sketch_to_region(body.sketch)
        solid = m3.Manifold.extrude(region, abs(body.height))
        return solid.transform(_plane_matrix(plane, 0, 0, min(body.height, 0)))
    base = body.twice_offset / 2
    if isinstance(body, Cylinder):
        solid = m3.Manifold.cylinder(body.height, body.radius, body.radius, CIRCLE_SIDES, True)
    else:
        solid = m3.Manifold.cube(body.size, True)
    return solid.transform(_plane_matrix(plane, *body.center, base))


def _plane_matrix(plane: Plane, x: float, y: float, z: float) -> FloatArray:
    """(3, 4) rigid motion from plane coordinates, first moved by (x, y, z), to the world."""
    matrix = np.zeros((3, 4))
    for column, (axis, shift) in enumerate(zip(AXES[plane.axes], (x, y, z), strict=True)):
        matrix[axis, column] = 1.0
        matrix[axis, 3] = plane.origin[axis] + shift
    return matrix


def sketch_to_region(sketch: Sketch) -> m3.CrossSection:
    """The area a sketch covers, in plane coordinates.

    Raises:
        InvalidShape: a loop is open, crosses itself or holds an impossible arc.
    """
    return _SketchBuilder().build(sketch)


class _SketchBuilder:
    """The state CadQuery's Sketch keeps: the area, the selected point, the edges."""

    def __init__(self) -> None:
        self.region = m3.CrossSection()
        self.at: Point2 = (0, 0)
        self.loops: list[list[Point2]] = []
        self.marks: list[list[Point2]] = []  # the corners that were drawn, no arc's polygon
        self.sides = CIRCLE_SIDES

    def build(self, sketch: Sketch) -> m3.CrossSection:
        self.sides = THIN_WALL_SIDES if _has_round_hole(sketch) else CIRCLE_SIDES
        for op in sketch.ops:
            self.apply(op)
        return self.region

    def apply(self, op: SketchOp) -> None:
        if isinstance(op, Push):
            self.at = op.point
        elif isinstance(op, Reset):
            self.at = (0, 0)
        elif isinstance(op, Segment):
            self._draw(op.start, [op.end], [op.end])
        elif isinstance(op, Arc):
            start = self.loops[-1][-1] if op.start is None else op.start
            polygon = arc_points(start, op.middle, op.end, step=2 * math.pi / self.sides)
            self._draw(op.start, polygon, [op.middle, op.end])
        elif isinstance(op, Close):
            self._draw(None, self.loops[0][:1], self.loops[0][:1])
        else:
            self._combine(self._shape(op), op.mode)

    def _draw(self, start: Point2 | None, polygon: list[Point2], marks: list[Point2]) -> None:
        """Go on from the open chain; a start elsewhere opens a new one."""
        if start is not None and not (self.loops and self.loops[-1][-1] == start):
            self.loops.append([start])
            self.marks.append([start])
        self.loops[-1].extend(polygon)
        self.marks[-1].extend(marks)

    def _shape(self, op: Circle | Rect | Face | Assemble) -> m3.CrossSection:
        if isinstance(op, Circle):
            return m3.CrossSection.circle(op.radius, self.sides)
        if isinstance(op, Rect):
            return m3.CrossSection.square((op.width, op.height), True)
        if isinstance(op, Face):
            return sketch_to_region(op.sketch)
        outer, *others = [
            loop_to_region(loop, marks) for loop, marks in zip(self.loops, self.marks, strict=True)
        ]
        for other in others:  # inside the first chain a hole, beside it an area of its own
            if (outer - other).is_empty():
                raise InvalidShape("a chain of edges lies around the first one")
            outer = outer - other if (other - outer).is_empty() else outer + other
        return outer

    def _combine(self, shape: m3.CrossSection, mode: str) -> None:
        if self.at != (0, 0):
            shape = shape.translate(self.at)
        if mode == "s":
            if self.region.is_empty():
                raise InvalidShape("there is nothing to cut from")
            self.region = self.region - shape
        else:
            self.region = shape if self.region.is_empty() else self.region + shape


def loop_to_region(loop: list[Point2], marks: list[Point2]) -> m3.CrossSection:
    """The area inside a closed polygon.

    Args:
        loop: corners in order, either direction; the last equals the first.
        marks: those of the corners that must not lie on another edge.

    Raises:
        InvalidShape: the loop is open, has no area or crosses itself.
    """
    if len(loop) < 4 or loop[0] != loop[-1]:
        raise InvalidShape("a loop of edges is not closed")
    if any(a == b for a, b in zip(loop, loop[1:], strict=False)):
        raise InvalidShape("an edge has no length")
    area = 0.5 * sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(loop, loop[1:], strict=False))
    if abs(area) < 1e-9:
        raise InvalidShape("a loop of edges encloses no area")
    corners = loop[:-1] if area > 0 else loop[:0:-1]
    if _touches_itself(np.array(corners), np.array(marks)):
        raise InvalidShape("a loop of edges touches itself")
    region = m3.CrossSection([corners], m3.FillRule.Positive)
    if abs(region.area() - abs(area)) > 1e-6 * abs(area) + 1e-6:
        raise InvalidShape("a loop of edges crosses itself")
    return region


def _touches_itself(corners: FloatArray, marks: FloatArray) -> bool:
    """Whether a mark lies on an edge that does not end in it."""
    along = np.roll(corners, -1, axis=0) - corners
    offset = marks[:, None] - corners  # mark i from the start of edge j
    square = np.maximum((along**2).sum(axis=1), 1e-12)
    share = ((offset * along).sum(axis=2) / square).clip(0, 1)
    gap = offset - share[..., None] * along
    near = (gap**2).sum(axis=2) < 1e-12
    ends = (share < 1e-9) | (share > 1 - 1e-9)
    return bool((near & ~ends).any()) or bool((near.sum(axis=1) > 2).any())


def _has_round_hole(sketch: Sketch) -> bool:
    """Whether a circle is cut out of something round."""
    cut = any(isinstance(op, Circle) and op.mode == "s" for op in sketch.ops)
    return cut and any(
        isinstance(op, Arc) or (isinstance(op, Circle) and op.mode == "a") for op in sketch.ops
    )


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


def arc_points(
    start: Point2, middle: Point2, end: Point2, *, step: float = ARC_STEP
) -> list[Point2]:
    """Corners of the polygon that stands for an arc: without its start, with middle and end."""
    x, y, radius = circle_through(start, middle, end)
    first = math.atan2(start[1] - y, start[0] - x)
    to_middle = (math.atan2(middle[1] - y, middle[0] - x) - first) % (2 * math.pi)
    sweep = (math.atan2(end[1] - y, end[0] - x) - first) % (2 * math.pi)
    if to_middle > sweep:
        to_middle, sweep = to_middle - 2 * math.pi, sweep - 2 * math.pi
    points: list[Point2] = []
    for begin, stop, last in ((0.0, to_middle, middle), (to_middle, sweep, end)):
        sides = max(1, math.ceil(abs(stop - begin) / step))
        angles = [first + begin + (stop - begin) * k / sides for k in range(1, sides)]
        points += [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in angles] + [last]
    return points
