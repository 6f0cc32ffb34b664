"""Program -> CadQuery source, in the one canonical form of the CAD-Recode data.

``text_to_program(program_to_text(p)) == p`` holds for every program. The text
is plain CadQuery that runs without this package.
"""

from __future__ import annotations

from cadwright.program.grammar import (
    Arc,
    Assemble,
    Body,
    Circle,
    Close,
    Cylinder,
    Extrude,
    Face,
    Mode,
    Number,
    Point2,
    Program,
    Push,
    Rect,
    Reset,
    Segment,
    Sketch,
    SketchOp,
)


def program_to_text(program: Program) -> str:
    """Print a program: an import, one line a plane, one expression ``r=``."""
    lines = ["import cadquery as cq"]
    for index, plane in enumerate(program.planes):
        origin = ",".join(number_to_text(value) for value in plane.origin)
        lines.append(f"w{index}=cq.Workplane('{plane.axes}',origin=({origin}))")
    first, *others = [body_to_text(body) for body in program.bodies]
    lines.append(f"r={first}" + "".join(f".union({body})" for body in others))
    return "\n".join(lines)


def number_to_text(value: Number) -> str:
    """Shortest exact text of a tidy number; never in exponent form."""
    return str(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0")


def body_to_text(body: Body) -> str:
    """One body's expression, without ``.union(...)``."""
    if isinstance(body, Extrude):
        return f"{_sketch(body.plane, body.sketch)}.extrude({number_to_text(body.height)})"
    text = f"w{body.plane}.workplane(offset={number_to_text(body.twice_offset)}/2)"
    if body.center != (0, 0):
        text += f".moveTo{_point(body.center)}"
    if isinstance(body, Cylinder):
        return f"{text}.cylinder({number_to_text(body.height)},{number_to_text(body.radius)})"
    return f"{text}.box({','.join(number_to_text(value) for value in body.size)})"


def _sketch(plane: int, sketch: Sketch, *, finalize: bool = True) -> str:
    ops = "".join(_op(op) for op in sketch.ops)
    return f"w{plane}.sketch(){ops}" + (".finalize()" if finalize else "")


def _point(point: Point2) -> str:
    return f"({number_to_text(point[0])},{number_to_text(point[1])})"


def _mode(mode: Mode) -> str:
    return ",mode='s'" if mode == "s" else ""


def _op(op: SketchOp) -> str:
    if isinstance(op, Push):
        return f".push([{_point(op.point)}])"
    if isinstance(op, Circle):
        return f".circle({number_to_text(op.radius)}{_mode(op.mode)})"
    if isinstance(op, Rect):
        return f".rect({number_to_text(op.width)},{number_to_text(op.height)}{_mode(op.mode)})"
    if isinstance(op, Segment):
        return f".segment({_points(op.start, op.end)})"
    if isinstance(op, Arc):
        return f".arc({_points(op.start, op.middle, op.end)})"
    if isinstance(op, Face):
        return f".face({_sketch(op.plane, op.sketch, finalize=False)}{_mode(op.mode)})"
    if isinstance(op, Assemble):
        return ".assemble(mode='s')" if op.mode == "s" else ".assemble()"
    if isinstance(op, Reset):
        return ".reset()"
    if isinstance(op, Close):
        return ".close()"
    raise TypeError(f"not a sketch operation: {op!r}")


def _points(*points: Point2 | None) -> str:
    return ",".join(_point(point) for point in points if point is not None)
