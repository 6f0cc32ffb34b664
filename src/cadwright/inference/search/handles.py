"""Which numbers of a program move together when it is adjusted.

A handle is a set of numbers with signs: moving it by d adds d times the sign
to each. Single numbers are handles; so are the coordinates that share an edge,
a whole loop, a plane with the far ends of its bodies kept in place. In: a
program. Out: handles as indices into ``grammar.numbers(program)``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from cadwright.program.grammar import (
    Arc,
    Body,
    Box,
    Circle,
    Corners,
    Cylinder,
    Extrude,
    Face,
    Plane,
    Point2,
    Program,
    Push,
    Rect,
    Revolve,
    Segment,
    Sketch,
)
from cadwright.program.program_to_mesh import AXES

Handle = tuple[tuple[int, float], ...]  # (index of a number, sign)


@dataclass
class _Labels:
    """Collects handles while counting through the numbers in their order."""

    straight: bool
    at: int = 0
    handles: list[Handle] = field(default_factory=list)
    # numbers that end a body on a plane: index and sign of "keep the far end where it is"
    far_ends: dict[int, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    origins: dict[int, int] = field(default_factory=dict)

    def take(self) -> int:
        self.at += 1
        return self.at - 1

    def add(self, *indices: int) -> None:
        self.handles.append(tuple((index, 1.0) for index in indices))


def program_to_handles(program: Program, *, straight: bool = False) -> list[Handle]:
    """All handles of a program, coarse ones (planes, loops) among fine ones.

    Args:
        program: any frame.
        straight: a coordinate that corners share moves with all of them, so that edges along an
            axis stay so; by parts of a unit a slant fits better than the nearest straight edge.
    """
    labels = _Labels(straight)
    for index, plane in enumerate(program.planes):
        _plane(labels, index, plane)
    for body in program.bodies:
        _body(labels, body)
    for index, origin in labels.origins.items():
        labels.handles.append(((origin, 1.0), *labels.far_ends[index]))
    return list(dict.fromkeys(handle for handle in labels.handles if handle))


def _plane(labels: _Labels, index: int, plane: Plane) -> None:
    normal = AXES[plane.axes][2]
    first = labels.at
    labels.at += 3
    labels.origins[index] = first + normal
    labels.add(first + normal)


def _body(labels: _Labels, body: Body) -> None:
    if isinstance(body, (Extrude, Revolve)):
        points = list(_sketch(labels, body.sketch))
        _shared_coordinates(labels, points)
        last = labels.take()
        if isinstance(body, Revolve):  # the axis moves with its profile, or not at all
            labels.add(*(x if body.axis == "Y" else y for x, y, _ in points), last)
            return
        labels.add(last)
        if isinstance(body, Extrude):
            labels.far_ends[body.plane].append((last, -1.0))
    else:
        _centred_body(labels, body)
    for _ in body.rims:
        labels.add(labels.take())


def _centred_body(labels: _Labels, body: Box | Cylinder) -> None:
    offset = labels.take()
    x, y = labels.take(), labels.take()
    labels.add(x)
    labels.add(y)
    if isinstance(body, Box):
        width, depth, height = labels.take(), labels.take(), labels.take()
        labels.add(width)
        labels.add(depth)
        for center, size in ((x, width), (y, depth)):
            for sign in (1.0, -1.0):  # one side moves, the other stays
                labels.handles.append(((center, sign * 0.5), (size, 1.0)))
    else:
        height, radius = labels.take(), labels.take()
        labels.add(radius)
    sign = 1.0 if body.twice_offset > 0 else -1.0
    labels.handles.append(((offset, sign), (height, 1.0)))
    labels.far_ends[body.plane].extend([(offset, -1.0), (height, -sign)])


def _sketch(labels: _Labels, sketch: Sketch) -> Iterator[tuple[int, int, Point2]]:
    """Handles of one sketch; yields (x index, y index, point) of every corner of its chains."""
    for op in sketch.ops:
        if isinstance(op, Push):
            x, y = labels.take(), labels.take()
            labels.add(x)
            labels.add(y)
        elif isinstance(op, (Circle, Corners)):
            labels.add(labels.take())
        elif isinstance(op, Rect):
            labels.add(labels.take())
            labels.add(labels.take())
        elif isinstance(op, (Segment, Arc)):
            yield from _edge(labels, op)
        elif isinstance(op, Face):
            inner = list(_sketch(labels, op.sketch))
            _shared_coordinates(labels, inner)


def _edge(labels: _Labels, op: Segment | Arc) -> Iterator[tuple[int, int, Point2]]:
    middle = op.middle if isinstance(op, Arc) else None
    for point in (op.start, middle, op.end):
        if point is None:
            continue
        yield labels.take(), labels.take(), point


def _shared_coordinates(labels: _Labels, points: list[tuple[int, int, Point2]]) -> None:
    """Handles of corners: each coordinate, those that have the same value, the whole loop."""
    for axis in (0, 1):
        groups: dict[float, list[int]] = defaultdict(list)
        for x, y, point in points:
            groups[point[axis]].append(y if axis else x)
        for group in groups.values():
            labels.add(*group)
            for index in [] if labels.straight else group:
                labels.add(index)
        labels.add(*(index for group in groups.values() for index in group))
