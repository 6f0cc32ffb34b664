"""The CAD-Recode dialect and our superset of it as a typed syntax tree (frozen, hashable).

In: nothing. Out: the node classes, and a walk over the numbers of a program. What is beyond
the published dialect is marked "superset" (``is_published_dialect`` tells the two apart).
Lengths are in the PROGRAM frame (box +-100) unless a program was put into the
user's frame; the tree itself does not care. Numbers keep to one form: an
``int`` where the value is whole, else a ``float``; so equal trees print equally.
Not covered: text (``text_to_program``, ``program_to_text``) and geometry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias, TypeVar

Number: TypeAlias = "int | float"
Point2: TypeAlias = "tuple[Number, Number]"
Point3: TypeAlias = "tuple[Number, Number, Number]"
Axes = Literal["XY", "YZ", "ZX"]
PLANE_AXES: tuple[Axes, ...] = ("XY", "YZ", "ZX")
# columns: the world axes of a plane's x, y and normal
AXES = {"XY": (0, 1, 2), "YZ": (1, 2, 0), "ZX": (2, 0, 1)}
Mode = Literal["a", "s"]  # add, subtract; CadQuery's own letters
Cut = Literal["fillet", "chamfer"]
End = Literal[">", "<"]  # of a body, along the world's axis that is its plane's normal
Axis = Literal["X", "Y"]  # of a sketch


@dataclass(frozen=True, slots=True)
class Plane:
    """``wK=cq.Workplane('XY',origin=(x,y,z))``; XY, YZ, ZX have normals Z, X, Y."""

    axes: Axes
    origin: Point3


@dataclass(frozen=True, slots=True)
class Push:
    """``push([(x,y)])``: what is added or cut later stands at this point."""

    point: Point2


@dataclass(frozen=True, slots=True)
class Reset:
    """``reset()``: the selected point goes back to the origin."""


@dataclass(frozen=True, slots=True)
class Circle:
    """``circle(r)``, centred on the selected point; mode 's' cuts it out."""

    radius: Number
    mode: Mode = "a"


@dataclass(frozen=True, slots=True)
class Rect:
    """``rect(w,h)``, centred on the selected point; mode 's' cuts it out."""

    width: Number
    height: Number
    mode: Mode = "a"


@dataclass(frozen=True, slots=True)
class Segment:
    """A straight edge; without ``start`` it goes on from the last edge's end."""

    start: Point2 | None
    end: Point2


@dataclass(frozen=True, slots=True)
class Arc:
    """A circular edge through ``middle``; without ``start`` it goes on."""

    start: Point2 | None
    middle: Point2
    end: Point2


@dataclass(frozen=True, slots=True)
class Close:
    """``close()``: a straight edge back to the start of the chain."""


@dataclass(frozen=True, slots=True)
class Assemble:
    """``assemble()``: all edges drawn so far become a face, standing at the selected point.

    CadQuery keeps the edges afterwards: a second chain in one sketch is a hole of the first.
    """

    mode: Mode = "a"


@dataclass(frozen=True, slots=True)
class Face:
    """``face(wK.sketch()...)``: another sketch, standing at the selected point."""

    plane: int
    sketch: Sketch
    mode: Mode = "a"


@dataclass(frozen=True, slots=True)
class Corners:
    """``vertices().fillet(r)`` or ``.chamfer(c)``: all corners of the one outline so far. Superset.

    It stands right after a ``rect`` or an ``assemble`` of straight edges, no point being selected.
    """

    kind: Cut
    size: Number


SketchOp: TypeAlias = (
    "Push | Reset | Circle | Rect | Segment | Arc | Close | Assemble | Face | Corners"
)


@dataclass(frozen=True, slots=True)
class Sketch:
    """``wK.sketch()`` and the operations chained to it, applied in order."""

    ops: tuple[SketchOp, ...]


@dataclass(frozen=True, slots=True)
class Rim:
    """``.faces('>Z').edges().chamfer(c)`` or ``.fillet(r)``: the edges of one end. Superset."""

    end: End
    kind: Cut
    size: Number


@dataclass(frozen=True, slots=True)
class Extrude:
    """``wK.sketch()....finalize().extrude(h)``; a negative height goes down.

    Attributes (of every body):
        mode: 's' cuts it from all bodies before it, ``.cut(...)``; superset.
        rims: of its two ends, each at most once; superset.
    """

    plane: int
    sketch: Sketch
    height: Number
    mode: Mode = "a"
    rims: tuple[Rim, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """``wK.workplane(offset=n/2).moveTo(x,y).box(a,b,h)``, centred on that point.

    Attributes:
        twice_offset: n, twice the centre's height over the plane.
        size: along the plane's x, its y and its normal.
    """

    plane: int
    twice_offset: Number
    center: Point2
    size: Point3
    mode: Mode = "a"
    rims: tuple[Rim, ...] = ()


@dataclass(frozen=True, slots=True)
class Cylinder:
    """``wK.workplane(offset=n/2).moveTo(x,y).cylinder(h,r)``, centred as a box is."""

    plane: int
    twice_offset: Number
    center: Point2
    height: Number
    radius: Number
    mode: Mode = "a"
    rims: tuple[Rim, ...] = ()


@dataclass(frozen=True, slots=True)
class Revolve:
    """``wK.sketch()....finalize().revolve(angle,(x,0,0),(x,1,0))``. Superset.

    Attributes:
        axis: of the sketch, to which the axis of rotation is parallel.
        at: where that axis crosses the sketch's other axis; the sketch lies on one side of it.
        angle: degrees in (0, 360], right-handed about the axis; no length, so not in ``numbers``.
    """

    plane: int
    sketch: Sketch
    axis: Axis
    at: Number
    angle: Number = 360
    mode: Mode = "a"


Body: TypeAlias = "Extrude | Box | Cylinder | Revolve"
NO_LENGTH = ("plane", "angle")  # fields that hold a number which is no length


@dataclass(frozen=True, slots=True)
class Program:
    """Planes ``w0, w1, ...`` and the bodies; ``r`` is their union, in order, less those cut."""

    planes: tuple[Plane, ...]
    bodies: tuple[Body, ...]


Node = TypeVar("Node")


def tidy(value: float) -> Number:
    """The one form of a number: int where whole, else a float of 6 decimals."""
    rounded = round(float(value), 6)
    return int(rounded) if rounded == int(rounded) else rounded


def numbers(node: Any) -> Iterator[Number]:
    """Every length in the tree, in the order of the text; planes' indices and angles left out."""
    if isinstance(node, tuple):
        for item in node:
            yield from numbers(item)
    elif isinstance(node, (int, float)):
        yield node
    elif hasattr(node, "__dataclass_fields__"):
        for field in fields(node):
            if field.name not in NO_LENGTH:
                yield from numbers(getattr(node, field.name))


def with_numbers(node: Node, values: Sequence[Number]) -> Node:
    """The same tree with other numbers, given in the order of ``numbers``.

    Raises:
        ValueError: there are not exactly as many values as numbers in the tree.
    """
    supply = iter(values)
    try:
        result = _refill(node, supply)
    except StopIteration:
        raise ValueError("too few values for this program") from None
    if next(supply, None) is not None:
        raise ValueError("too many values for this program")
    return result


def _refill(node: Any, supply: Iterator[Number]) -> Any:
    if isinstance(node, tuple):
        return tuple([_refill(item, supply) for item in node])
    if isinstance(node, (int, float)):
        return tidy(next(supply))
    if hasattr(node, "__dataclass_fields__"):
        names = [field.name for field in fields(node) if field.name not in NO_LENGTH]
        return replace(node, **{name: _refill(getattr(node, name), supply) for name in names})
    return node


def sizes_are_positive(program: Program) -> bool:
    """Whether every radius, side and height is one that the dialect allows."""
    return all(_body_has_size(body) for body in program.bodies)


def _body_has_size(body: Body) -> bool:
    if isinstance(body, Revolve):
        return _sketch_has_size(body.sketch)
    if any(rim.size <= 0 for rim in body.rims):
        return False
    if isinstance(body, Box):
        return min(body.size) > 0
    if isinstance(body, Cylinder):
        return body.height > 0 and body.radius > 0
    return body.height != 0 and _sketch_has_size(body.sketch)


def _sketch_has_size(sketch: Sketch) -> bool:
    for op in sketch.ops:
        if isinstance(op, Circle) and op.radius <= 0:
            return False
        if isinstance(op, Rect) and min(op.width, op.height) <= 0:
            return False
        if isinstance(op, Corners) and op.size <= 0:
            return False
        if isinstance(op, Face) and not _sketch_has_size(op.sketch):
            return False
    return True


def is_published_dialect(program: Program) -> bool:
    """Whether a program keeps to CAD-Recode's dialect and uses nothing of our superset."""
    for body in program.bodies:
        if isinstance(body, Revolve) or body.mode == "s" or body.rims:
            return False
        if isinstance(body, Extrude) and _cuts_corners(body.sketch):
            return False
    return True


def _cuts_corners(sketch: Sketch) -> bool:
    return any(
        isinstance(op, Corners) or (isinstance(op, Face) and _cuts_corners(op.sketch))
        for op in sketch.ops
    )
