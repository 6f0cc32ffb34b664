"""CadQuery source -> Program, without executing it.

The text is read by Python's own parser into ``ast`` nodes; this module walks
them and accepts exactly the dialect. Anything else is an error that names the
call and its line and column. Nothing is imported, evaluated or looked up.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from typing import NoReturn, cast

from cadwright.errors import ProgramError, UnsupportedError
from cadwright.program.grammar import (
    PLANE_AXES,
    Arc,
    Assemble,
    Body,
    Box,
    Circle,
    Close,
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
    Segment,
    Sketch,
    SketchOp,
    tidy,
)

MAX_CHARACTERS = 100_000  # a real program has 400; a longer text is an attack or an accident
MAX_DEPTH = 500  # calls in one chain
MAX_NESTING = 20  # sketches within sketches; Python's parser accepts more than the stack holds
LARGEST_NUMBER = 1e6


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


def _fail(node: ast.AST | _Place, message: str) -> NoReturn:
    raise UnsupportedError(message, getattr(node, "lineno", 0), getattr(node, "col_offset", -1) + 1)


class _Reader:
    """Walks the module's statements; ``planes`` maps a variable to its index."""

    def __init__(self) -> None:
        self.planes: list[Plane] = []
        self.names: dict[str, int] = {}
        self.depth = 0

    def module(self, module: ast.Module) -> Program:
        bodies: tuple[Body, ...] | None = None
        for statement in module.body:
            if bodies is not None:
                _fail(statement, "nothing may follow the expression 'r='")
            if isinstance(statement, ast.Import):
                self._import(statement)
            elif isinstance(statement, ast.Assign):
                bodies = self._assign(statement)
            else:
                _fail(
                    statement, f"a statement of the kind {type(statement).__name__} is not allowed"
                )
        if bodies is None:
            raise ProgramError("there is no expression 'r='")
        return Program(tuple(self.planes), bodies)

    def _import(self, statement: ast.Import) -> None:
        names = [(alias.name, alias.asname) for alias in statement.names]
        if names != [("cadquery", "cq")]:
            _fail(statement, "the only import allowed is 'import cadquery as cq'")

    def _assign(self, statement: ast.Assign) -> tuple[Body, ...] | None:
        target = statement.targets[0]
        if len(statement.targets) != 1 or not isinstance(target, ast.Name):
            _fail(statement, "only a plain name may be assigned")
        if target.id == "r":
            return self._union(statement.value)
        if target.id != f"w{len(self.planes)}":
            _fail(target, f"expected the name 'w{len(self.planes)}' or 'r', got '{target.id}'")
        self.names[target.id] = len(self.planes)
        self.planes.append(self._plane(statement.value))
        return None

    def _plane(self, node: ast.expr) -> Plane:
        root, calls = _chain(node)
        if not (isinstance(root, ast.Name) and root.id == "cq" and len(calls) == 1):
            _fail(node, "a plane is written cq.Workplane('XY',origin=(x,y,z))")
        call = calls[0]
        if call.name != "Workplane" or len(call.args) != 1 or set(call.keywords) != {"origin"}:
            _fail(call.node, "a plane is written cq.Workplane('XY',origin=(x,y,z))")
        axes = call.args[0]
        if not (isinstance(axes, ast.Constant) and axes.value in PLANE_AXES):
            _fail(axes, "the plane must be 'XY', 'YZ' or 'ZX'")
        x, y, z = _tuple(call.keywords["origin"], 3)
        return Plane(axes.value, (x, y, z))

    def _plane_index(self, root: ast.expr) -> int:
        if not isinstance(root, ast.Name) or root.id not in self.names:
            _fail(root, "an expression must begin with a plane that was defined above")
        return self.names[root.id]

    def _union(self, node: ast.expr) -> tuple[Body, ...]:
        root, calls = _chain(node)
        unions: list[_Call] = []
        while calls and calls[-1].name == "union":
            unions.insert(0, calls.pop())
        bodies = [self._body(node, root, calls)]
        for call in unions:
            (argument,) = call.positional(1)
            bodies.append(self._body(argument, *_chain(argument)))
        return tuple(bodies)

    def _body(self, node: ast.expr, root: ast.expr, calls: list[_Call]) -> Body:
        plane = self._plane_index(root)
        if not calls:
            _fail(node, "a body is missing after the plane")
        if calls[0].name == "workplane":
            return self._solid(plane, calls)
        if calls[0].name != "sketch":
            _fail(
                calls[0].node, f"'{calls[0].name}' does not begin a body; sketch and workplane do"
            )
        if len(calls) < 3 or [calls[-2].name, calls[-1].name] != ["finalize", "extrude"]:
            _fail(
                calls[-1].node,
                f"'{calls[-1].name}' does not end a body; extrude, box and cylinder do",
            )
        calls[-2].positional(0)
        sketch = self._sketch(calls[:-2])
        (height,) = calls[-1].positional(1)
        return Extrude(plane, sketch, _nonzero(height))

    def _solid(self, plane: int, calls: list[_Call]) -> Body:
        offset = _twice_offset(calls[0])
        center: Point2 = (0, 0)
        rest = calls[1:]
        if rest and rest[0].name == "moveTo":
            x, y = rest[0].positional(2)
            center = (_number(x), _number(y))
            rest = rest[1:]
        if not rest:
            _fail(calls[0].node, "box or cylinder must follow the work plane")
        for call, allowed in zip(rest, (("box", "cylinder"), *[()] * len(rest)), strict=False):
            if call.name not in allowed:
                _fail(
                    call.node, f"'{call.name}' is out of place; a body ends in one box or cylinder"
                )
        if rest[0].name == "box":
            a, b, c = (_positive(arg) for arg in rest[0].positional(3))
            return Box(plane, offset, center, (a, b, c))
        height, radius = (_positive(arg) for arg in rest[0].positional(2))
        return Cylinder(plane, offset, center, height, radius)

    def _sketch(self, calls: list[_Call]) -> Sketch:
        if calls[0].name != "sketch":
            _fail(calls[0].node, f"expected 'sketch', got '{calls[0].name}'")
        calls[0].positional(0)
        ops = tuple(self._op(call) for call in calls[1:])
        if not ops:
            _fail(calls[0].node, "the sketch is empty")
        _check_chains(ops, calls[1:])
        return Sketch(ops)

    def _op(self, call: _Call) -> SketchOp:
        if call.name == "face":
            return self._face(call)
        read = _SKETCH_OPS.get(call.name)
        if read is None:
            _fail(call.node, f"'{call.name}' is not a sketch operation of the dialect")
        return read(call)

    def _face(self, call: _Call) -> Face:
        mode = call.mode()
        (argument,) = call.positional(1, mode=True)
        root, calls = _chain(argument)
        if not calls:
            _fail(argument, "face needs a sketch")
        self.depth += 1
        if self.depth > MAX_NESTING:
            _fail(call.node, f"'face' is nested more than {MAX_NESTING} deep")
        face = Face(self._plane_index(root), self._sketch(calls), mode)
        self.depth -= 1
        return face


class _Place:
    """Where a method's name stands: an ``ast.Call`` begins where its whole chain does."""

    def __init__(self, func: ast.Attribute) -> None:
        self.lineno = func.end_lineno or 0
        self.col_offset = (func.end_col_offset or 0) - len(func.attr.encode())


class _Call:
    """One link of a chain: ``.name(args, key=value)``."""

    def __init__(self, node: ast.Call, func: ast.Attribute) -> None:
        self.node, self.name, self.args = _Place(func), func.attr, node.args
        self.keywords = {keyword.arg or "**": keyword.value for keyword in node.keywords}
        if len(self.keywords) < len(node.keywords):
            _fail(self.node, f"'{self.name}' is given the same argument twice")

    def positional(self, count: int, *, mode: bool = False) -> list[ast.expr]:
        """The arguments, which must be this many and (but for mode) not named."""
        strange = set(self.keywords) - ({"mode"} if mode else set())
        if len(self.args) != count or strange:
            _fail(self.node, f"'{self.name}' takes {count} arguments in this dialect")
        return self.args

    def mode(self) -> Mode:
        node = self.keywords.get("mode")
        if node is None:
            return "a"
        if not (isinstance(node, ast.Constant) and node.value in ("a", "s")):
            _fail(node, "mode must be 'a' or 's'")
        return cast(Mode, node.value)


def _chain(node: ast.expr) -> tuple[ast.expr, list[_Call]]:
    """Unroll ``root.a().b()`` into its root and its calls, first call first."""
    calls: list[_Call] = []
    while isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Attribute):
            _fail(node, "only methods of a plane may be called")
        calls.append(_Call(node, node.func))
        if len(calls) > MAX_DEPTH:
            _fail(node, f"more than {MAX_DEPTH} calls in one chain")
        node = node.func.value
    return node, calls[::-1]


def _number(node: ast.expr) -> Number:
    sign = 1
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        sign = -sign if isinstance(node.op, ast.USub) else sign
        node = node.operand
    if not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        _fail(node, "expected a number")
    value = node.value
    if not isinstance(value, (int, float)) or not abs(value) <= LARGEST_NUMBER:
        _fail(node, f"the number is not finite or beyond {LARGEST_NUMBER:g}")
    return tidy(sign * value)


def _nonzero(node: ast.expr) -> Number:
    value = _number(node)
    if value == 0:
        _fail(node, "the height must not be 0")
    return value


def _positive(node: ast.expr) -> Number:
    value = _number(node)
    if value <= 0:
        _fail(node, "the size must be greater than 0")
    return value


def _tuple(node: ast.expr, count: int) -> list[Number]:
    if not isinstance(node, ast.Tuple) or len(node.elts) != count:
        _fail(node, f"expected {count} numbers in brackets")
    return [_number(item) for item in node.elts]


def _point(node: ast.expr) -> Point2:
    x, y = _tuple(node, 2)
    return (x, y)


def _twice_offset(call: _Call) -> Number:
    if call.args or set(call.keywords) != {"offset"}:
        _fail(call.node, "a work plane is written workplane(offset=h/2)")
    node = call.keywords["offset"]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        if _number(node.right) != 2:
            _fail(node.right, "an offset may only be divided by 2")
        return _number(node.left)
    return tidy(2 * _number(node))


def _push(call: _Call) -> Push:
    (argument,) = call.positional(1)
    if not isinstance(argument, ast.List) or len(argument.elts) != 1:
        _fail(argument, "push takes a list of one point")
    return Push(_point(argument.elts[0]))


def _circle(call: _Call) -> Circle:
    (radius,) = call.positional(1, mode=True)
    return Circle(_positive(radius), call.mode())


def _rect(call: _Call) -> Rect:
    width, height = call.positional(2, mode=True)
    return Rect(_positive(width), _positive(height), call.mode())


def _segment(call: _Call) -> Segment:
    points = [_point(arg) for arg in call.positional(1 if len(call.args) == 1 else 2)]
    return Segment(points[0] if len(points) == 2 else None, points[-1])


def _arc(call: _Call) -> Arc:
    points = [_point(arg) for arg in call.positional(2 if len(call.args) == 2 else 3)]
    return Arc(points[0] if len(points) == 3 else None, points[-2], points[-1])


def _bare(node_type: Callable[[], SketchOp]) -> Callable[[_Call], SketchOp]:
    def read(call: _Call) -> SketchOp:
        call.positional(0)
        return node_type()

    return read


def _assemble(call: _Call) -> Assemble:
    call.positional(0, mode=True)
    return Assemble(call.mode())


_SKETCH_OPS: dict[str, Callable[[_Call], SketchOp]] = {
    "push": _push,
    "circle": _circle,
    "rect": _rect,
    "segment": _segment,
    "arc": _arc,
    "assemble": _assemble,
    "reset": _bare(Reset),
    "close": _bare(Close),
}


def _check_chains(ops: tuple[SketchOp, ...], calls: list[_Call]) -> None:
    """Edges must be a chain that starts somewhere and is assembled in the end."""
    edges, assembled = 0, True
    for op, call in zip(ops, calls, strict=True):
        if isinstance(op, (Segment, Arc)):
            if op.start is None and edges == 0:
                _fail(call.node, f"'{call.name}' goes on from an edge, but there is none")
            edges, assembled = edges + 1, False
        elif isinstance(op, (Close, Assemble)):
            if edges == 0:
                _fail(call.node, f"'{call.name}' needs edges before it")
            assembled = assembled or isinstance(op, Assemble)
    if not assembled:
        _fail(calls[-1].node, "the sketch ends with edges that are not assembled")
