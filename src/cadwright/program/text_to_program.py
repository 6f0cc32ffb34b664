"""CadQuery source -> Program, without executing it.

The text is read by Python's own parser into ``ast`` nodes; this module walks
them and accepts exactly the dialect and its superset (docs/dialect.md). Anything else is an
error that names the call and its line and column. Nothing is imported, evaluated or looked up.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import replace
from typing import cast

from cadwright.errors import ProgramError
from cadwright.program.calls import (
    Call,
    fail,
    read_chain,
    read_nonzero,
    read_number,
    read_numbers,
    read_positive,
)
from cadwright.program.grammar import (
    PLANE_AXES,
    Axis,
    Body,
    Box,
    Cut,
    Cylinder,
    End,
    Extrude,
    Number,
    Plane,
    Point2,
    Program,
    Revolve,
    Rim,
    tidy,
)
from cadwright.program.text_to_sketch import calls_to_sketch, plane_index

MAX_CHARACTERS = 100_000  # a real program has 400; a longer text is an attack or an accident
_SWEEPS = ("extrude", "revolve")
_MAKERS = (*_SWEEPS, "box", "cylinder")
NORMALS = {"XY": "Z", "YZ": "X", "ZX": "Y"}


def text_to_program(text: str) -> Program:
    """Read a program.

    Raises:
        ProgramError: not readable as Python, or out of the grammar.
        UnsupportedError: a name, call or argument that the dialect does not have.
    """
    if len(text) > MAX_CHARACTERS:
        raise ProgramError(f"the text has {len(text)} characters, more than {MAX_CHARACTERS}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a text's odd literals are not our user's concern
            module = ast.parse(text)
    except SyntaxError as error:
        raise ProgramError(error.msg, error.lineno or 0, error.offset or 0) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ProgramError(f"the text cannot be read: {error}") from error
    return _Reader().module(module)


class _Reader:
    """Walks the module's statements; ``names`` maps a variable to its plane's index."""

    def __init__(self) -> None:
        self.planes: list[Plane] = []
        self.names: dict[str, int] = {}

    def module(self, module: ast.Module) -> Program:
        bodies: tuple[Body, ...] | None = None
        for statement in module.body:
            if bodies is not None:
                fail(statement, "nothing may follow the expression 'r='")
            if isinstance(statement, ast.Import):
                self._import(statement)
            elif isinstance(statement, ast.Assign):
                bodies = self._assign(statement)
            else:
                fail(
                    statement, f"a statement of the kind {type(statement).__name__} is not allowed"
                )
        if bodies is None:
            raise ProgramError("there is no expression 'r='")
        return Program(tuple(self.planes), bodies)

    def _import(self, statement: ast.Import) -> None:
        names = [(alias.name, alias.asname) for alias in statement.names]
        if names != [("cadquery", "cq")]:
            fail(statement, "the only import allowed is 'import cadquery as cq'")

    def _assign(self, statement: ast.Assign) -> tuple[Body, ...] | None:
        target = statement.targets[0]
        if len(statement.targets) != 1 or not isinstance(target, ast.Name):
            fail(statement, "only a plain name may be assigned")
        if target.id == "r":
            return self._bodies(statement.value)
        if target.id != f"w{len(self.planes)}":
            fail(target, f"expected the name 'w{len(self.planes)}' or 'r', got '{target.id}'")
        self.names[target.id] = len(self.planes)
        self.planes.append(_plane(statement.value))
        return None

    def _bodies(self, node: ast.expr) -> tuple[Body, ...]:
        root, calls = read_chain(node)
        joins: list[Call] = []
        while calls and calls[-1].name in ("union", "cut"):
            joins.insert(0, calls.pop())
        bodies = [self._body(node, root, calls)]
        for call in joins:
            (argument,) = call.positional(1)
            body = self._body(argument, *read_chain(argument))
            bodies.append(body if call.name == "union" else replace(body, mode="s"))
        return tuple(bodies)

    def _body(self, node: ast.expr, root: ast.expr, calls: list[Call]) -> Body:
        plane = plane_index(root, self.names)
        if not calls:
            fail(node, "a body is missing after the plane")
        if calls[0].name not in ("workplane", "sketch"):
            fail(calls[0].node, f"'{calls[0].name}' does not begin a body; sketch and workplane do")
        calls, rims = _split_rims(calls, NORMALS[self.planes[plane].axes])
        if calls[0].name == "workplane":
            return _solid(plane, calls, rims)
        if len(calls) < 3 or calls[-2].name != "finalize" or calls[-1].name not in _SWEEPS:
            fail(
                calls[-1].node,
                f"'{calls[-1].name}' does not end a body; extrude, box and cylinder do",
            )
        calls[-2].positional(0)
        sketch = calls_to_sketch(calls[:-2], self.names)
        if calls[-1].name == "revolve":
            if rims:
                fail(calls[-1].node, "the rims of what 'revolve' makes cannot be cut")
            axis, at, angle = _axis_of(calls[-1])
            return Revolve(plane, sketch, axis, at, angle)
        (height,) = calls[-1].positional(1)
        return Extrude(plane, sketch, read_nonzero(height), rims=rims)


def _plane(node: ast.expr) -> Plane:
    root, calls = read_chain(node)
    if not (isinstance(root, ast.Name) and root.id == "cq" and len(calls) == 1):
        fail(node, "a plane is written cq.Workplane('XY',origin=(x,y,z))")
    call = calls[0]
    if call.name != "Workplane" or len(call.args) != 1 or set(call.keywords) != {"origin"}:
        fail(call.node, "a plane is written cq.Workplane('XY',origin=(x,y,z))")
    axes = call.args[0]
    if not (isinstance(axes, ast.Constant) and axes.value in PLANE_AXES):
        fail(axes, "the plane must be 'XY', 'YZ' or 'ZX'")
    x, y, z = read_numbers(call.keywords["origin"], 3)
    return Plane(axes.value, (x, y, z))


def _solid(plane: int, calls: list[Call], rims: tuple[Rim, ...]) -> Body:
    offset = _twice_offset(calls[0])
    center: Point2 = (0, 0)
    rest = calls[1:]
    if rest and rest[0].name == "moveTo":
        x, y = rest[0].positional(2)
        center = (read_number(x), read_number(y))
        rest = rest[1:]
    if not rest:
        fail(calls[0].node, "box or cylinder must follow the work plane")
    for call, allowed in zip(rest, (("box", "cylinder"), *[()] * len(rest)), strict=False):
        if call.name not in allowed:
            fail(call.node, f"'{call.name}' is out of place; a body ends in one box or cylinder")
    if rest[0].name == "box":
        a, b, c = (read_positive(arg) for arg in rest[0].positional(3))
        return Box(plane, offset, center, (a, b, c), rims=rims)
    height, radius = (read_positive(arg) for arg in rest[0].positional(2))
    return Cylinder(plane, offset, center, height, radius, rims=rims)


def _twice_offset(call: Call) -> Number:
    if call.args or set(call.keywords) != {"offset"}:
        fail(call.node, "a work plane is written workplane(offset=h/2)")
    node = call.keywords["offset"]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        if read_number(node.right) != 2:
            fail(node.right, "an offset may only be divided by 2")
        return read_number(node.left)
    return tidy(2 * read_number(node))


def _split_rims(calls: list[Call], normal: str) -> tuple[list[Call], tuple[Rim, ...]]:
    """The calls that make a body, and those ``.faces().edges().chamfer()`` after them."""
    ends = [k for k, call in enumerate(calls) if call.name in _MAKERS]
    rest = calls[ends[0] + 1 :] if ends else []
    if not rest or rest[0].name != "faces":
        return calls, ()
    rims: list[Rim] = []
    while rest:
        rims.append(_rim(rest[:3], normal))
        if rims[-1].end in [rim.end for rim in rims[:-1]]:
            fail(rest[0].node, "'faces' picks the same end twice")
        rest = rest[3:]
    return calls[: ends[0] + 1], tuple(rims)


def _rim(calls: list[Call], normal: str) -> Rim:
    for call, allowed in zip(calls, (("faces",), ("edges",), ("chamfer", "fillet")), strict=False):
        if call.name not in allowed:
            fail(call.node, f"'{call.name}' is out of place; expected {' or '.join(allowed)}")
    if len(calls) < 3:
        fail(calls[-1].node, f"'{calls[-1].name}' is not followed by edges().chamfer or .fillet")
    (side,) = calls[0].positional(1)
    if not (isinstance(side, ast.Constant) and side.value in (f">{normal}", f"<{normal}")):
        fail(calls[0].node, f"'faces' takes '>{normal}' or '<{normal}', an end of this body")
    calls[1].positional(0)
    (size,) = calls[2].positional(1)
    return Rim(cast(End, side.value[0]), cast(Cut, calls[2].name), read_positive(size))


def _axis_of(call: Call) -> tuple[Axis, Number, Number]:
    """Axis, its place and the angle of ``revolve(angle,(x,0,0),(x,1,0))``."""
    angle, *points = call.positional(3)
    degrees = read_positive(angle)
    if degrees > 360:
        fail(angle, "the angle must not be more than 360")
    (x, y, z), (x2, y2, z2) = (read_numbers(point, 3) for point in points)
    if (y, z, y2, z2) == (0, 0, 1, 0) and x == x2:
        return "Y", x, degrees
    if (x, z, x2, z2) == (0, 0, 1, 0) and y == y2:
        return "X", y, degrees
    fail(points[0], "the axis is written (x,0,0),(x,1,0) or (0,y,0),(1,y,0)")
