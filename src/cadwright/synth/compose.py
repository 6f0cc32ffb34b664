"""Sketches on random planes -> one program on the integer grid.

After CAD-Recode (arXiv 2412.14042), algorithm 2: sketches on randomly moved
canonical planes, random extrusion heights, union; then normalise, quantise,
simplify. In: a random generator. Out: a Program in the PROGRAM frame, or
``LoopError`` where the draw came to nothing (the caller draws again).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cadwright.program.grammar import (
    Axes,
    Body,
    Box,
    Circle,
    Cylinder,
    Extrude,
    Face,
    Mode,
    Number,
    Plane,
    Point2,
    Program,
    Push,
    Rect,
    Reset,
    Sketch,
    SketchOp,
)
from cadwright.program.program_to_mesh import AXES
from cadwright.synth.outline import (
    CircleLoop,
    EdgeLoop,
    Loop,
    LoopError,
    Outline,
    RectLoop,
    loop_bounds,
    loop_to_ops,
    moved,
    rounded,
)
from cadwright.synth.sketch import draw_outlines
from cadwright.types import FloatArray

BODY_COUNTS = (0.22, 0.52, 0.21, 0.05)  # shares of one, two, three, four bodies
PLANE_NAMES: tuple[Axes, ...] = ("XY", "YZ", "ZX")
HALF_SIDE = 100.0  # PROGRAM frame


@dataclass(frozen=True, slots=True)
class Slab:
    """An extruded sketch before it is on the grid: drawing frame, floats."""

    axes: Axes
    base: float  # along the plane's normal
    height: float  # signed
    outlines: tuple[Outline, ...]

    def bounds(self) -> FloatArray:
        """(2, 3) lower and upper corner in world axes."""
        boxes = np.array([loop_bounds(outline.outer) for outline in self.outlines])
        z0, z1 = sorted((self.base, self.base + self.height))
        corners = np.zeros((2, 3))
        x_axis, y_axis, normal = AXES[self.axes]
        corners[0, [x_axis, y_axis]] = boxes[:, 0].min(axis=0)
        corners[1, [x_axis, y_axis]] = boxes[:, 1].max(axis=0)
        corners[:, normal] = z0, z1
        return corners


def draw_slabs(rng: np.random.Generator) -> list[Slab]:
    """One to four extruded sketches in the drawing frame.

    Raises:
        LoopError: a sketch came to nothing.
    """
    slabs: list[Slab] = []
    for _ in range(1 + int(rng.choice(len(BODY_COUNTS), p=BODY_COUNTS))):
        height = float(np.exp(rng.uniform(np.log(12), np.log(220))))
        if slabs and rng.random() < 0.62:  # on the same plane as the body before
            before = slabs[-1]
            sign = -np.sign(before.height) if rng.random() < 0.7 else np.sign(before.height)
            axes, base, height = before.axes, before.base, height * float(sign)
        else:
            axes = PLANE_NAMES[int(rng.integers(3))]
            base = float(rng.uniform(-80, 60))
        slabs.append(Slab(axes, base, height, tuple(draw_outlines(rng))))
    return slabs


def slabs_to_program(slabs: list[Slab]) -> Program:
    """Normalise to the box +-100, round to integers, simplify, print in canonical order.

    Raises:
        LoopError: something degenerates on the grid.
    """
    bounds = [slab.bounds() for slab in slabs]
    low = np.min([pair[0] for pair in bounds], axis=0)
    high = np.max([pair[1] for pair in bounds], axis=0)
    center, scale = (low + high) / 2, 2 * HALF_SIDE / float((high - low).max())
    planes: list[Plane] = []
    bodies: list[Body] = []
    for slab in slabs:
        plane, body = _slab_to_body(slab, center, scale)
        if plane not in planes:
            planes.append(plane)
        bodies.append(_on_plane(body, planes.index(plane)))
    return Program(tuple(planes), tuple(bodies))


def _slab_to_body(slab: Slab, center: FloatArray, scale: float) -> tuple[Plane, Body]:
    x_axis, y_axis, normal = AXES[slab.axes]
    shift = (float(center[x_axis]), float(center[y_axis]))
    base = round((slab.base - center[normal]) * scale)
    height = round(slab.height * scale)
    if abs(height) < 3:
        raise LoopError("a body too thin for the grid")
    origin: list[Number] = [0, 0, 0]
    origin[normal] = base
    outlines = [
        Outline(
            rounded(moved(outline.outer, shift, scale)),
            tuple(rounded(moved(hole, shift, scale)) for hole in outline.holes),
        )
        for outline in slab.outlines
    ]
    plane = Plane(slab.axes, (origin[0], origin[1], origin[2]))
    return plane, outlines_to_body(outlines, height)


def outlines_to_body(outlines: list[Outline], height: Number) -> Body:
    """A box or cylinder where one loop says all, else an extruded sketch; plane index 0."""
    if len(outlines) == 1 and not outlines[0].holes:
        loop = outlines[0].outer
        if isinstance(loop, CircleLoop):
            return Cylinder(0, height, loop.center, abs(height), loop.radius)
        if isinstance(loop, RectLoop):
            return Box(0, height, loop.center, (*loop.size, abs(height)))
    return Extrude(0, outlines_to_sketch(outlines), height)


def outlines_to_sketch(outlines: list[Outline]) -> Sketch:
    """All outlines in one sketch, chains of edges first, then what stands at points."""
    writer = _SketchWriter()
    for outline in sorted(outlines, key=lambda item: not isinstance(item.outer, EdgeLoop)):
        writer.add(outline.outer, "a")
        for hole in outline.holes:
            writer.add(hole, "s")
    return Sketch(tuple(writer.ops))


class _SketchWriter:
    """Writes loops one after the other and remembers the selected point."""

    def __init__(self) -> None:
        self.ops: list[SketchOp] = []
        self.at: Point2 = (0, 0)

    def add(self, loop: Loop, mode: Mode) -> None:
        if isinstance(loop, EdgeLoop):
            self._add_edges(loop, mode)
            return
        if loop.center != self.at:
            self.ops.append(Push(loop.center))
            self.at = loop.center
        if isinstance(loop, CircleLoop):
            self.ops.append(Circle(loop.radius, mode))
        else:
            self.ops.append(Rect(*loop.size, mode))

    def _add_edges(self, loop: EdgeLoop, mode: Mode) -> None:
        if self.at != (0, 0):
            self.ops.append(Reset())
            self.at = (0, 0)
        if not self.ops:
            self.ops.extend(loop_to_ops(loop))
        else:  # CadQuery keeps a sketch's edges, so a second chain needs a sketch of its own
            self.ops.append(Face(0, Sketch(loop_to_ops(loop)), mode))


def _on_plane(body: Body, plane: int) -> Body:
    if isinstance(body, Extrude):
        ops = tuple(replace(op, plane=plane) if isinstance(op, Face) else op for op in body.sketch.ops)
        return Extrude(plane, Sketch(ops), body.height)
    return replace(body, plane=plane)
