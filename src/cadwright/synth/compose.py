"""Sketches on random planes -> one program on the integer grid.

After CAD-Recode (arXiv 2412.14042), algorithm 2: sketches on randomly moved
canonical planes, random extrusion heights, union; then normalise, quantise,
simplify. Beyond it: bodies that stand on others or in line with them. In: a random
generator. Out: a Program in the PROGRAM frame, or ``LoopError`` where the draw came
to nothing (the caller draws again).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import manifold3d as m3
import numpy as np

from cadwright.program.arcs import arc_corners
from cadwright.program.grammar import AXES, PLANE_AXES, Axes, Body, Number, Plane, Point2, Program
from cadwright.program.outline import (
    EdgeLoop,
    Loop,
    LoopError,
    Outline,
    moved,
    rounded,
)
from cadwright.program.outline_to_body import on_plane, outlines_to_body
from cadwright.synth.polygon_to_loop import polygon_area
from cadwright.synth.sketch import SMALLEST_AREA, Drawing, between, draw_sketch

# shares of programs with one body, at most two, ... before draws that fail are repeated
BODY_COUNTS = (0.22, 0.72, 0.92, 0.975, 0.993, 1.0)
SAME_PLANE = 0.60  # of the bodies after the first: the plane of the one before
SAME_SIDE = 0.30  # of those: the same side of that plane
STANDING = 0.10  # on the far end of the one before
IN_LINE = 0.15  # its middle over the middle of an earlier one
MOST_PLANES = 4
LOWEST, HIGHEST = 9.0, 220.0  # bodies, in the drawing frame
HALF_SIDE = 100.0  # PROGRAM frame
CHECK_SIDES = 24  # a full turn of an arc, where loops are asked whether they cross themselves
PLACES = 6  # tries for a body that touches the ones before

Bounds = tuple[list[float], list[float]]


@dataclass(frozen=True, slots=True)
class Slab:
    """An extruded sketch before it is on the grid: drawing frame, floats.

    Attributes:
        axes: of its plane.
        base: of the plane, along its normal.
        height: signed.
        drawing: one sketch.
        bounds: lower and upper corner in world axes.
    """

    axes: Axes
    base: float
    height: float
    drawing: Drawing
    bounds: Bounds

    @property
    def middle(self) -> list[float]:
        """Of its box, in world axes."""
        return [(low + high) / 2 for low, high in zip(*self.bounds, strict=True)]


def draw_slabs(rng: np.random.Generator, *, loose: bool) -> list[Slab]:
    """One to six extruded sketches in the drawing frame.

    Args:
        rng: moved on by the draw.
        loose: whether a box may lie apart from those before.

    Raises:
        LoopError: a sketch came to nothing.
    """
    share = rng.random()
    count = 1 + sum(share >= bound for bound in BODY_COUNTS[:-1])
    slabs: list[Slab] = []
    for _ in range(count):
        for _ in range(PLACES):
            slab = _draw_slab(rng, slabs)
            if loose or _holds_together(slab, slabs, alone=count == 1):
                break
        else:
            raise LoopError("no body that touches the ones before")
        slabs.append(slab)
    return slabs


def _draw_slab(rng: np.random.Generator, before: list[Slab]) -> Slab:
    height = math.exp(between(rng, math.log(LOWEST), math.log(HIGHEST)))
    kind = rng.random() if before else 1.0
    if kind < SAME_PLANE:
        last = before[-1]
        sign = math.copysign(1.0 if rng.random() < SAME_SIDE else -1.0, last.height)
        axes, base, height = last.axes, last.base, height * sign
    elif kind < SAME_PLANE + STANDING:
        last = before[-1]
        axes, base = last.axes, last.base + last.height
        height = math.copysign(height, last.height)
    else:
        axes = PLANE_AXES[int(rng.integers(3))]
        base = between(rng, -80, 60)
    slab = _slab(axes, base, height, draw_sketch(rng))
    if before and rng.random() < IN_LINE:
        slab = _centred(slab, before[int(rng.integers(len(before)))])
    return slab


def _slab(axes: Axes, base: float, height: float, drawing: Drawing) -> Slab:
    low, high = [0.0] * 3, [0.0] * 3
    x_axis, y_axis, normal = AXES[axes]
    low[x_axis], low[y_axis], high[x_axis], high[y_axis] = drawing.area.bounds()
    low[normal], high[normal] = sorted((base, base + height))
    return Slab(axes, base, height, drawing, (low, high))


def _centred(slab: Slab, other: Slab) -> Slab:
    """The slab with its middle in line with another's, along its own normal."""
    x_axis, y_axis, _ = AXES[slab.axes]
    own, target = slab.middle, other.middle
    shift = (own[x_axis] - target[x_axis], own[y_axis] - target[y_axis])
    outlines = [_moved_outline(outline, shift) for outline in slab.drawing.outlines]
    area = slab.drawing.area.translate((-shift[0], -shift[1]))
    return _slab(slab.axes, slab.base, slab.height, Drawing(outlines, area))


def _moved_outline(outline: Outline, shift: tuple[float, float]) -> Outline:
    holes: list[Loop] = [moved(hole, shift, 1.0) for hole in outline.holes]
    return Outline(moved(outline.outer, shift, 1.0), tuple(holes))


def _holds_together(slab: Slab, before: list[Slab], *, alone: bool) -> bool:
    """Whether a slab may be one piece with those before; ``alone``, with itself."""
    if alone:
        return len(slab.drawing.outlines) == 1 or len(slab.drawing.area.decompose()) == 1
    return not before or any(_touch(slab, other) for other in before)


def _touch(one: Slab, two: Slab) -> bool:
    """Whether the boxes touch and, along one normal, the areas overlap."""
    boxes = all(
        low_one <= high_two and low_two <= high_one
        for low_one, high_one, low_two, high_two in zip(*one.bounds, *two.bounds, strict=True)
    )
    if not boxes or one.axes != two.axes:
        return boxes
    return (one.drawing.area ^ two.drawing.area).area() > SMALLEST_AREA


def slabs_to_program(slabs: list[Slab]) -> Program:
    """Normalise to the box +-100, round to integers, simplify, print in canonical order.

    Raises:
        LoopError: something degenerates on the grid.
    """
    low = [min(slab.bounds[0][axis] for slab in slabs) for axis in range(3)]
    high = [max(slab.bounds[1][axis] for slab in slabs) for axis in range(3)]
    center = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    scale = 2 * HALF_SIDE / max(b - a for a, b in zip(low, high, strict=True))
    planes: list[Plane] = []
    bodies: list[Body] = []
    for slab in slabs:
        plane, body = _slab_to_body(slab, center, scale)
        if plane not in planes:
            planes.append(plane)
        bodies.append(on_plane(body, planes.index(plane)))
    if len(planes) > MOST_PLANES:
        raise LoopError("too many planes")
    return Program(tuple(planes), tuple(bodies))


def _slab_to_body(slab: Slab, center: list[float], scale: float) -> tuple[Plane, Body]:
    x_axis, y_axis, normal = AXES[slab.axes]
    shift = (center[x_axis], center[y_axis])
    base = round((slab.base - center[normal]) * scale)
    height = round(slab.height * scale)
    if abs(height) < 3:
        raise LoopError("a body too thin for the grid")
    origin: list[Number] = [0, 0, 0]
    origin[normal] = base
    outlines = [
        Outline(
            _on_grid(outline.outer, shift, scale),
            tuple(_on_grid(hole, shift, scale) for hole in outline.holes),
        )
        for outline in slab.drawing.outlines
    ]
    plane = Plane(slab.axes, (origin[0], origin[1], origin[2]))
    return plane, outlines_to_body(outlines, height)


def _on_grid(loop: Loop, shift: tuple[float, float], scale: float) -> Loop:
    """The loop in the PROGRAM frame, in integers.

    Raises:
        LoopError: it degenerates there, crosses itself or nearly so. The kernel finds that, too,
            but takes milliseconds to be sure of it.
    """
    loop = rounded(moved(loop, shift, scale))
    if isinstance(loop, EdgeLoop):
        ends = (*loop.points[1:], loop.points[0])
        corners: list[Point2] = []
        for start, middle, end in zip(loop.points, loop.middles, ends, strict=True):
            corners += [end] if middle is None else arc_corners(start, middle, end, CHECK_SIDES)
        polygon = np.array(corners, dtype=np.float64)
        area = m3.CrossSection([polygon], m3.FillRule.NonZero).area()
        if abs(area - abs(polygon_area(polygon))) > 1e-6 * area + 1e-6:
            raise LoopError("a loop that crosses itself")
    return loop
