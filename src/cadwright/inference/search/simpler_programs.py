"""Sketches that noise gave too many corners -> simpler ones to try in their place.

In: a program that was read off a scan. Out: programs with one edge or two less, or with a rectangle
or a circle for a whole outline. Not covered: which of them are worth their loss of fit
(``stages``), and moving what is left (``refine``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import TypeAlias

import numpy as np

from cadwright.inference.search.outline_on_grid import WHOLE, on_step, point_on_step
from cadwright.program.arcs import InvalidShape, circle_through
from cadwright.program.grammar import (
    Arc,
    Assemble,
    Circle,
    Close,
    Extrude,
    Face,
    Mode,
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
from cadwright.types import FloatArray

Edge: TypeAlias = "Segment | Arc"
FEWEST_EDGES = 3
LARGEST_RADIUS = 150.0  # PROGRAM units
MOST_REMOVED = 2  # edges at once: a jog has two corners


def simpler_programs(program: Program) -> Iterator[Program]:
    """Each with one simpler sketch; largest simplifications first within a sketch."""
    for index, body in enumerate(program.bodies):
        if isinstance(body, (Extrude, Revolve)):
            for sketch in _simpler_sketches(body.sketch, plain=isinstance(body, Extrude)):
                bodies = list(program.bodies)
                bodies[index] = replace(body, sketch=sketch)
                yield Program(program.planes, tuple(bodies))


def _simpler_sketches(sketch: Sketch, *, plain: bool) -> Iterator[Sketch]:
    for first, edges in _chains(sketch.ops):
        after = sketch.ops[first + len(edges) :]
        closing = 2 if isinstance(after[0], Close) else 1
        area = after[closing - 1]
        if plain and first == 0 and isinstance(area, Assemble):
            for shape in _plain_shapes(edges, area.mode):
                rest = after[closing:]
                if rest and not isinstance(rest[0], (Push, Reset)):
                    rest = (Reset(), *rest)
                yield Sketch((*shape, *rest))
        for count in range(MOST_REMOVED, 0, -1):
            for k in range(len(edges) - count + 1):
                if len(edges) - count >= FEWEST_EDGES:
                    fewer = _without(edges, k, count)
                    yield Sketch((*sketch.ops[:first], *fewer, *after))
    for k, op in enumerate(sketch.ops):
        if isinstance(op, Face):
            for inner in _simpler_sketches(op.sketch, plain=plain):
                yield Sketch((*sketch.ops[:k], replace(op, sketch=inner), *sketch.ops[k + 1 :]))


def _chains(ops: tuple[SketchOp, ...]) -> Iterator[tuple[int, tuple[Edge, ...]]]:
    """The edges of each outline, and where they begin."""
    at = 0
    for is_edge, run in groupby(ops, key=lambda op: isinstance(op, (Segment, Arc))):
        members = tuple(run)
        if is_edge:
            yield at, tuple(op for op in members if isinstance(op, (Segment, Arc)))
        at += len(members)


def _without(edges: tuple[Edge, ...], k: int, count: int) -> tuple[Edge, ...]:
    """Edge ``k`` and those after it left out, ``count`` in all; the next begins where they did."""
    before, rest = edges[:k], edges[k + count :]
    start = edges[k].start
    if start is not None and rest:
        rest = (replace(rest[0], start=start), *rest[1:])
    return (*before, *rest)


def _plain_shapes(edges: tuple[Edge, ...], mode: Mode) -> Iterator[tuple[SketchOp, ...]]:
    """The circle of each arc, the rectangle of the same moments, the circle of the same area."""
    corners = list(_corners(edges))
    for k, edge in enumerate(edges):
        if isinstance(edge, Arc):
            start = edge.start or (edges[k - 1].end if k else corners[0])
            yield from _circle(start, edge, mode)
    area, center, spread = _moments(np.array(corners, dtype=np.float64))
    if area <= 0 or min(spread) <= 0:
        return
    place = point_on_step(center, WHOLE)
    push = () if place == (0, 0) else (Push(place),)
    width, height = (on_step(math.sqrt(12 * value), WHOLE) for value in spread)
    radius = on_step(math.sqrt(area / math.pi), WHOLE)
    if min(width, height) > 0:
        yield *push, Rect(width, height, mode)
    if radius > 0:
        yield *push, Circle(radius, mode)


def _circle(start: Point2, arc: Arc, mode: Mode) -> Iterator[tuple[SketchOp, ...]]:
    """The whole circle that an arc is part of."""
    try:
        x, y, radius = circle_through(start, arc.middle, arc.end)
    except InvalidShape:
        return
    if radius <= LARGEST_RADIUS:
        yield Push(point_on_step((x, y), WHOLE)), Circle(max(on_step(radius, WHOLE), 1), mode)


def _corners(edges: tuple[Edge, ...]) -> Iterator[tuple[float, float]]:
    for edge in edges:
        if edge.start is not None:
            yield edge.start
        if isinstance(edge, Arc):
            yield edge.middle
        yield edge.end


def _moments(polygon: FloatArray) -> tuple[float, tuple[float, float], tuple[float, float]]:
    """Area, centroid, and variance along x and y of what a polygon encloses."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    cross = start[:, 0] * end[:, 1] - end[:, 0] * start[:, 1]
    area = float(cross.sum()) / 2
    if area == 0:
        return 0.0, (0.0, 0.0), (0.0, 0.0)
    center = ((start + end) * cross[:, None]).sum(axis=0) / (6 * area)
    square = ((start**2 + start * end + end**2) * cross[:, None]).sum(axis=0) / (12 * area)
    x, y = square - center**2
    return abs(area), (float(center[0]), float(center[1])), (float(x), float(y))
