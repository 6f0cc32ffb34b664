"""Program -> CadQuery source, in the one canonical form of the CAD-Recode data.

``text_to_program(program_to_text(p)) == p`` holds for every program. The text
is plain CadQuery that runs without this package.
"""

from __future__ import annotations

from cadwright.program.grammar import (
    AXES,
    Arc,
    Assemble,
    Body,
    Circle,
    Close,
    Corners,
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
    Revolve,
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
    text = "r="
    for index, body in enumerate(program.bodies):
        printed = body_to_text(body) + _rims(body, program)
        join = "cut" if body.mode == "s" else "union"
        text += f".{join}({printed})" if index else printed
    return "\n".join([*lines, text])


def number_to_text(value: Number) -> str:
    """Shortest exact text of a tidy number; never in exponent form."""
    return str(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0").rstrip(".")


def body_to_text(body: Body) -> str:
    """One body's expression, without ``.union(...)`` and without its rims."""
    if isinstance(body, Extrude):
        return f"{_sketch(body.plane, body.sketch)}.extrude({number_to_text(body.height)})"
    if isinstance(body, Revolve):
        return f"{_sketch(body.plane, body.sketch)}.revolve({_turn(body)})"
    text = f"w{body.plane}.workplane(offset={number_to_text(body.twice_offset)}/2)"
    if body.center != (0, 0):
        text += f".moveTo{_point(body.center)}"
    if isinstance(body, Cylinder):
        return f"{text}.cylinder({number_to_text(body.height)},{number_to_text(body.radius)})"
    return f"{text}.box({','.join(number_to_text(value) for value in body.size)})"


def _turn(body: Revolve) -> str:
    at = number_to_text(body.at)
    axis = f"({at},0,0),({at},1,0)" if body.axis == "Y" else f"(0,{at},0),(1,{at},0)"
    return f"{number_to_text(body.angle)},{axis}"


def _rims(body: Body, program: Program) -> str:
    if isinstance(body, Revolve):
        return ""
    normal = "XYZ"[AXES[program.planes[body.plane].axes][2]]
    return "".join(
        f".faces('{rim.end}{normal}').edges().{rim.kind}({number_to_text(rim.size)})"
        for rim in body.rims
    )


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
    if isinstance(op, Corners):
        return f".vertices().{op.kind}({number_to_text(op.size)})"
    if isinstance(op, Reset):
        return ".reset()"
    if isinstance(op, Close):
        return ".close()"
    raise TypeError(f"not a sketch operation: {op!r}")


def _points(*points: Point2 | None) -> str:
    return ",".join(_point(point) for point in points if point is not None)
