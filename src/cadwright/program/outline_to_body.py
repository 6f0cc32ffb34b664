"""Outlines and a height -> a body of the dialect, in its simplest form.

A lone rectangle becomes a box, a lone circle a cylinder, anything else an
extruded sketch: chains of edges first, then what stands at points.
"""

from __future__ import annotations

from dataclasses import replace

from cadwright.program.grammar import (
    Body,
    Box,
    Circle,
    Cylinder,
    Extrude,
    Face,
    Mode,
    Number,
    Point2,
    Push,
    Rect,
    Reset,
    Revolve,
    Sketch,
    SketchOp,
)
from cadwright.program.outline import (
    CircleLoop,
    EdgeLoop,
    Loop,
    Outline,
    RectLoop,
    loop_to_ops,
)


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


def on_plane(body: Body, plane: int) -> Body:
    """The body on another plane of its program."""
    if isinstance(body, (Extrude, Revolve)):
        ops = tuple(
            replace(op, plane=plane) if isinstance(op, Face) else op for op in body.sketch.ops
        )
        return replace(body, plane=plane, sketch=Sketch(ops))
    return replace(body, plane=plane)
