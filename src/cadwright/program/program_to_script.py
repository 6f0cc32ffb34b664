"""A program in the user's lengths -> part.py as an engineer would write it.

In: a ``UserProgram``. Out: plain CadQuery that runs without this package: dimensions as named
variables at the top, equal ones shared, opposite positions derived (``-hole_x``), one call to a
line. ``program_to_user.text_to_user_program`` reads such a text, also after somebody has changed
its numbers. Not covered: choosing round numbers (``program_to_user``).
"""

from __future__ import annotations

from collections.abc import Sequence

from cadwright.program.dimensions import Dimensions, name_bodies
from cadwright.program.grammar import (
    AXES,
    Arc,
    Assemble,
    Body,
    Box,
    Circle,
    Close,
    Corners,
    Cylinder,
    Extrude,
    Face,
    Program,
    Push,
    Rect,
    Reset,
    Revolve,
    Segment,
    Sketch,
    SketchOp,
)
from cadwright.program.program_to_text import number_to_text
from cadwright.program.program_to_user import UserProgram, rest_to_text


def user_program_to_script(user: UserProgram, *, comments: Sequence[str] = ()) -> str:
    """Print a program with named dimensions.

    Args:
        user: what to print.
        comments: lines put before it.
    """
    program = user.program
    writer = _Writer(program)
    body_lines = writer.bodies()
    lines = [f"# {' '.join(comment.split())}" for comment in comments]
    lines += ["import cadquery as cq", ""]
    if writer.dimensions.lines:
        lines += [*writer.dimensions.lines, ""]
    lines += [*writer.plane_lines(), "", *body_lines]
    if user.rest is not None:
        lines.append(rest_to_text(user.rest))
    return "\n".join(lines) + "\n"


class _Writer:
    """Prints the parts of one program and collects its dimensions on the way."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.dimensions = Dimensions()
        self.names = name_bodies(program)

    def plane_lines(self) -> list[str]:
        """One line a plane."""
        lines = []
        for index, plane in enumerate(self.program.planes):
            origin = ", ".join(number_to_text(value) for value in plane.origin)
            lines.append(f'w{index} = cq.Workplane("{plane.axes}", origin=({origin}))')
        return lines

    def bodies(self) -> list[str]:
        """The expression ``r``, one call to a line."""
        lines = ["r = ("]
        for index, (body, name) in enumerate(zip(self.program.bodies, self.names, strict=True)):
            calls = [*self._body(body, name), *self._rims(body, name)]
            if index == 0:
                lines += [f"    w{body.plane}", *(f"    {call}" for call in calls)]
                continue
            join = "cut" if body.mode == "s" else "union"
            lines.append(f"    .{join}(  # {name.replace('_', ' ')}")
            lines += [f"        w{body.plane}", *(f"        {call}" for call in calls), "    )"]
        return [*lines, ")"]

    def _body(self, body: Body, name: str) -> list[str]:
        size = self.dimensions.size
        if isinstance(body, (Extrude, Revolve)):
            calls = [".sketch()", *self._sketch(body.sketch, name), ".finalize()"]
            if isinstance(body, Revolve):
                return [*calls, self._turn(body, name)]
            return [*calls, f".extrude({size(body.height, f'{name}_height')})"]
        height = body.size[2] if isinstance(body, Box) else body.height
        stem = "thickness" if name.startswith("plate") else "height"
        tall = size(height, f"{name}_{stem}")
        calls = [f".workplane(offset={self._offset(body.twice_offset, height, tall)})"]
        if body.center != (0, 0):
            x, y = self._point(body.center, name)
            calls.append(f".moveTo({x}, {y})")
        if isinstance(body, Cylinder):
            across = size(2 * body.radius, f"{name}_diameter")
            return [*calls, f".cylinder({tall}, {across} / 2)"]
        length = size(body.size[0], f"{name}_length")
        width = size(body.size[1], f"{name}_width")
        return [*calls, f".box({length}, {width}, {tall})"]

    def _offset(self, twice: float, height: float, tall: str) -> str:
        if twice == height:
            return f"{tall} / 2"
        if twice == -height:
            return f"-{tall} / 2"
        return f"{number_to_text(twice)} / 2"

    def _turn(self, body: Revolve, name: str) -> str:
        at = self.dimensions.position(body.at, f"{name}_axis")
        axis = f"({at}, 0, 0), ({at}, 1, 0)" if body.axis == "Y" else f"(0, {at}, 0), (1, {at}, 0)"
        return f".revolve({number_to_text(body.angle)}, {axis})"

    def _rims(self, body: Body, name: str) -> list[str]:
        if isinstance(body, Revolve):
            return []
        normal = "XYZ"[AXES[self.program.planes[body.plane].axes][2]]
        return [
            f'.faces("{rim.end}{normal}").edges()'
            f".{rim.kind}({self.dimensions.size(rim.size, f'{name}_{rim.kind}')})"
            for rim in body.rims
        ]

    def _sketch(self, sketch: Sketch, name: str) -> list[str]:
        calls: list[str] = []
        for index, op in enumerate(sketch.ops):
            after = sketch.ops[index + 1 : index + 2]
            calls.append(self._op(op, name, cuts=any(_cuts(one) for one in after)))
        return calls

    def _op(self, op: SketchOp, name: str, *, cuts: bool) -> str:
        size = self.dimensions.size
        mode = ', mode="s"' if _cuts(op) else ""
        if isinstance(op, Push):
            x, y = self._point(op.point, f"{name}_hole" if cuts else name)
            return f".push([({x}, {y})])"
        if isinstance(op, Circle):
            stem = f"{name}_hole" if mode else name
            return f".circle({size(2 * op.radius, f'{stem}_diameter')} / 2{mode})"
        if isinstance(op, Rect):
            stem = f"{name}_window" if mode else name
            width = size(op.width, f"{stem}_length")
            return f".rect({width}, {size(op.height, f'{stem}_width')}{mode})"
        if isinstance(op, (Segment, Arc)):
            points = [op.start, op.middle, op.end] if isinstance(op, Arc) else [op.start, op.end]
            call = "arc" if isinstance(op, Arc) else "segment"
            texts = [self._corner(point) for point in points if point is not None]
            return f".{call}({', '.join(texts)})"
        if isinstance(op, Corners):
            return f".vertices().{op.kind}({size(op.size, f'{name}_corner_{op.kind}')})"
        if isinstance(op, Face):
            inner = "".join(self._sketch(op.sketch, name))
            return f".face(w{op.plane}.sketch(){inner}{mode})"
        return _PLAIN[type(op)] if not mode else '.assemble(mode="s")'

    def _point(self, point: Sequence[float], name: str) -> tuple[str, str]:
        place = self.dimensions.position
        return place(point[0], f"{name}_x"), place(point[1], f"{name}_y")

    def _corner(self, point: Sequence[float]) -> str:
        x, y = (self.dimensions.known(value) for value in point)
        return f"({x}, {y})"


_PLAIN: dict[type, str] = {Reset: ".reset()", Close: ".close()", Assemble: ".assemble()"}


def _cuts(op: SketchOp) -> bool:
    return getattr(op, "mode", "a") == "s"
