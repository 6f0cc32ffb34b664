"""Program -> the CadQuery calls that its printed text would make, and the shape they give.

In: a tree, and the module ``cadquery`` (only ``_worker`` imports it). Out: a cadquery Shape. No
text is ever executed. What OpenCASCADE would build without a word, though it means nothing, is
refused here. Lengths stay in the program's own frame.
"""

from __future__ import annotations

from typing import Any

from cadwright.program import grammar
from cadwright.program.arcs import InvalidShape
from cadwright.program.sketch_to_areas import sketch_to_areas


class EmptyShape(Exception):
    """Internal: nothing is left; becomes ``Outcome.EMPTY``."""


class BrokenShape(Exception):
    """Internal: a solid that the kernel built but that cannot be used; ``Outcome.INVALID``."""


class Interpreter:
    """Calls CadQuery as the printed program would."""

    def __init__(self, program: grammar.Program, cadquery: Any) -> None:
        self.bodies = program.bodies
        self.planes = [cadquery.Workplane(p.axes, origin=p.origin) for p in program.planes]
        self.normals = ["XYZ"[grammar.AXES[p.axes][2]] for p in program.planes]

    def shape(self) -> Any:
        """The value of the program's ``r``: a cadquery Shape.

        Raises:
            EmptyShape: a sketch covers no area.
        """
        if self.bodies[0].mode == "s":
            raise BrokenShape("there is nothing to cut the first body from")
        result = self.body(self.bodies[0])
        for body in self.bodies[1:]:
            solid = self.body(body)
            result = result.union(solid) if body.mode == "a" else result.cut(solid)
        return result.val()

    def body(self, body: grammar.Body) -> Any:
        if isinstance(body, grammar.Revolve):
            return self.revolve(body)
        if isinstance(body, grammar.Extrude):
            solid = self.covering(body).finalize().extrude(body.height)
        else:
            place = self.planes[body.plane].workplane(offset=body.twice_offset / 2)
            place = place.moveTo(*body.center)
            if isinstance(body, grammar.Cylinder):
                solid = place.cylinder(body.height, body.radius)
            else:
                solid = place.box(*body.size)
        for rim in body.rims:
            edges = solid.faces(f"{rim.end}{self.normals[body.plane]}").edges()
            solid = edges.chamfer(rim.size) if rim.kind == "chamfer" else edges.fillet(rim.size)
        return solid

    def revolve(self, body: grammar.Revolve) -> Any:
        drawing, at = self.covering(body), body.at
        sides = set()
        for face in drawing:  # OpenCASCADE would turn a sketch through itself without a word
            box = self.planes[body.plane].plane.toLocalCoords(face).BoundingBox(1e-9)
            low, high = (box.xmin, box.xmax) if body.axis == "Y" else (box.ymin, box.ymax)
            slack = 1e-6 * (high - low)
            sides |= {-1} if low < at - slack else set()
            sides |= {1} if high > at + slack else set()
        if len(sides) > 1:
            raise BrokenShape("the axis of a revolution runs through its sketch")
        ends = ((at, 0, 0), (at, 1, 0)) if body.axis == "Y" else ((0, at, 0), (1, at, 0))
        return drawing.finalize().revolve(body.angle, *ends)

    def covering(self, body: grammar.Extrude | grammar.Revolve) -> Any:
        """The body's sketch, which must cover something."""
        sketch = self.sketch(body.plane, body.sketch)
        if not any(item.ShapeType() == "Face" for item in sketch):
            raise EmptyShape("a sketch covers no area")
        return sketch

    def sketch(self, plane: int, sketch: grammar.Sketch) -> Any:
        if any(isinstance(op, grammar.Corners) for op in sketch.ops):
            check_corners(sketch)
        drawing = self.planes[plane].sketch()
        for op in sketch.ops:
            drawing = self.draw(drawing, op)
        return drawing

    def draw(self, drawing: Any, op: grammar.SketchOp) -> Any:
        match op:
            case grammar.Push(point):
                return drawing.push([point])
            case grammar.Reset():
                return drawing.reset()
            case grammar.Circle(radius, mode):
                return drawing.circle(radius, mode=mode)
            case grammar.Rect(width, height, mode):
                return drawing.rect(width, height, mode=mode)
            case grammar.Segment(start, end):
                return drawing.segment(*([] if start is None else [start]), end)
            case grammar.Arc(start, middle, end):
                return drawing.arc(*([] if start is None else [start]), middle, end)
            case grammar.Close():
                return drawing.close()
            case grammar.Assemble(mode):
                return drawing.assemble(mode=mode)
            case grammar.Face(plane, sketch, mode):
                return drawing.face(self.sketch(plane, sketch), mode=mode)
            case grammar.Corners(kind, size):
                corners = drawing.vertices()
                return corners.fillet(size) if kind == "fillet" else corners.chamfer(size)


def check_corners(sketch: grammar.Sketch) -> None:
    """OpenCASCADE cuts corners that do not fit into something else, and calls it valid.

    Raises:
        BrokenShape: they do not fit, or the outline has no meaning.
    """
    try:
        sketch_to_areas(sketch)
    except InvalidShape as error:
        raise BrokenShape(str(error)) from error
