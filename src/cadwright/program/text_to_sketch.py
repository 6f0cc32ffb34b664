"""The calls of a sketch -> its operations, each checked where it stands.

In: a chain of calls that begins with ``sketch()``. Out: a ``Sketch``, or an error that names the
call and its line and column. Faces hold sketches of their own. Nothing is evaluated.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

from cadwright.program.calls import Call, fail, read_chain, read_point, read_positive
from cadwright.program.grammar import (
    Arc,
    Assemble,
    Circle,
    Close,
    Corners,
    Cut,
    Face,
    Push,
    Rect,
    Reset,
    Segment,
    Sketch,
    SketchOp,
)

MAX_NESTING = 20  # sketches within sketches; Python's parser accepts more than the stack holds


def calls_to_sketch(calls: Sequence[Call], planes: Mapping[str, int], depth: int = 0) -> Sketch:
    """Read a sketch.

    Args:
        calls: ``sketch()`` and what is chained to it, without ``finalize()``.
        planes: index of each plane by its name.
        depth: how many sketches are around this one.

    Raises:
        UnsupportedError: a call or argument that the dialect does not have there.
    """
    if calls[0].name != "sketch":
        fail(calls[0].node, f"expected 'sketch', got '{calls[0].name}'")
    calls[0].positional(0)
    rest = _without_vertices(calls[1:])
    ops = tuple([_op(call, planes, depth) for call in rest])
    if not ops:
        fail(calls[0].node, "the sketch is empty")
    _check_chains(ops, rest)
    _check_corners(ops, rest)
    return Sketch(ops)


def plane_index(root: ast.expr, planes: Mapping[str, int]) -> int:
    """Which plane an expression begins with."""
    if not isinstance(root, ast.Name) or root.id not in planes:
        fail(root, "an expression must begin with a plane that was defined above")
    return planes[root.id]


def _without_vertices(calls: Sequence[Call]) -> list[Call]:
    """The calls less each ``vertices()``, which must be followed by fillet or chamfer."""
    kept: list[Call] = []
    before: Call | None = None
    for call in calls:
        if (call.name in ("fillet", "chamfer")) != (before is not None):
            fail(call.node, f"'{call.name}' is out of place; fillet and chamfer follow vertices()")
        before = call if call.name == "vertices" else None
        if before is None:
            kept.append(call)
        else:
            call.positional(0)
    if before is not None:
        fail(before.node, "'vertices' must be followed by fillet or chamfer")
    return kept


def _op(call: Call, planes: Mapping[str, int], depth: int) -> SketchOp:
    if call.name == "face":
        return _face(call, planes, depth)
    read = _SKETCH_OPS.get(call.name)
    if read is None:
        fail(call.node, f"'{call.name}' is not a sketch operation of the dialect")
    return read(call)


def _face(call: Call, planes: Mapping[str, int], depth: int) -> Face:
    mode = call.mode()
    (argument,) = call.positional(1, mode=True)
    root, calls = read_chain(argument)
    if not calls:
        fail(argument, "face needs a sketch")
    if depth >= MAX_NESTING:
        fail(call.node, f"'face' is nested more than {MAX_NESTING} deep")
    return Face(plane_index(root, planes), calls_to_sketch(calls, planes, depth + 1), mode)


def _push(call: Call) -> Push:
    (argument,) = call.positional(1)
    if not isinstance(argument, ast.List) or len(argument.elts) != 1:
        fail(argument, "push takes a list of one point")
    return Push(read_point(argument.elts[0]))


def _circle(call: Call) -> Circle:
    (radius,) = call.positional(1, mode=True)
    return Circle(read_positive(radius), call.mode())


def _rect(call: Call) -> Rect:
    width, height = call.positional(2, mode=True)
    return Rect(read_positive(width), read_positive(height), call.mode())


def _segment(call: Call) -> Segment:
    points = [read_point(arg) for arg in call.positional(1 if len(call.args) == 1 else 2)]
    return Segment(points[0] if len(points) == 2 else None, points[-1])


def _arc(call: Call) -> Arc:
    points = [read_point(arg) for arg in call.positional(2 if len(call.args) == 2 else 3)]
    return Arc(points[0] if len(points) == 3 else None, points[-2], points[-1])


def _bare(node_type: Callable[[], SketchOp]) -> Callable[[Call], SketchOp]:
    def read(call: Call) -> SketchOp:
        call.positional(0)
        return node_type()

    return read


def _assemble(call: Call) -> Assemble:
    call.positional(0, mode=True)
    return Assemble(call.mode())


def _corners(kind: Cut) -> Callable[[Call], SketchOp]:
    def read(call: Call) -> SketchOp:
        (size,) = call.positional(1)
        return Corners(kind, read_positive(size))

    return read


_SKETCH_OPS: dict[str, Callable[[Call], SketchOp]] = {
    "push": _push,
    "circle": _circle,
    "rect": _rect,
    "segment": _segment,
    "arc": _arc,
    "assemble": _assemble,
    "reset": _bare(Reset),
    "close": _bare(Close),
    "fillet": _corners("fillet"),
    "chamfer": _corners("chamfer"),
}


def _check_chains(ops: tuple[SketchOp, ...], calls: list[Call]) -> None:
    """Edges must be a chain that starts somewhere and is assembled in the end."""
    edges, assembled = 0, True
    for op, call in zip(ops, calls, strict=True):
        if isinstance(op, (Segment, Arc)):
            if op.start is None and edges == 0:
                fail(call.node, f"'{call.name}' goes on from an edge, but there is none")
            edges, assembled = edges + 1, False
        elif isinstance(op, (Close, Assemble)):
            if edges == 0:
                fail(call.node, f"'{call.name}' needs edges before it")
            assembled = assembled or isinstance(op, Assemble)
    if not assembled:
        fail(calls[-1].node, "the sketch ends with edges that are not assembled")


def _check_corners(ops: tuple[SketchOp, ...], calls: list[Call]) -> None:
    """Corners are those of one straight outline, nothing else being selected before or after."""
    areas = (Circle, Rect, Face, Assemble)
    selected: str | None = None  # what a shape drawn now would stand at, where not the origin
    for k, (op, call) in enumerate(zip(ops, calls, strict=True)):
        if isinstance(op, (Push, Reset)):
            selected = "point" if isinstance(op, Push) else None
        elif isinstance(op, areas) and selected == "corners":
            fail(call.node, f"'{call.name}' needs push or reset after corners were cut")
        elif isinstance(op, Corners):
            drawn = [other for other in ops[:k] if isinstance(other, areas)]
            straight = not any(isinstance(other, Arc) for other in ops[:k])
            single = len(drawn) == 1 and isinstance(drawn[0], (Rect, Assemble)) and straight
            if not single or drawn[0].mode == "s":
                fail(call.node, f"'{call.name}' of corners follows one rect or straight outline")
            if selected is not None:
                fail(call.node, f"'{call.name}' of corners needs reset() before vertices()")
            selected = "corners"
