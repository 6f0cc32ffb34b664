"""Sketch -> the area it covers as a manifold3d CrossSection, with as many corners as are needed.

A polygon of n sides in place of a circle misses a share of its area that falls with 1/n^2. How
much that matters depends on how much area there is: a disc needs few sides, a thin ring many.
Each circle and arc gets its sides such that together they miss at most ``miss`` of the sketch's
area, the sum of all corners being least. Plane coordinates, any frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import manifold3d as m3
import numpy as np

from cadwright.program.arcs import InvalidShape, arc_shape, signed_area, unit_circle
from cadwright.program.chains import Chain, Edge, loop_area, loop_to_corners
from cadwright.program.grammar import Sketch
from cadwright.program.sketch_to_areas import (
    Block,
    Disc,
    Enclosed,
    Group,
    Steps,
    sketch_to_areas,
)

MISS = 0.0015  # share of an area that its polygon may lack in some places and exceed in others
SIDES = (16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256)  # multiples of 4 keep extents exact
# Between a circle and the polygon of its area that unit_circle gives lies this share of it, / n^2:
# (2 pi)^2 / 6 for a polygon within the circle, and 0.385 of that for one of the same area.
CIRCLE_MISS = 0.385 * (2 * math.pi) ** 2 / 6
FINEST = 512


def sketch_to_region(sketch: Sketch, *, miss: float = MISS) -> m3.CrossSection:
    """The area a sketch covers, in plane coordinates.

    Args:
        sketch: of any frame.
        miss: share of the area by which the polygons may differ from it.

    Raises:
        InvalidShape: a loop is open, touches or crosses itself or holds an impossible arc.
    """
    steps = sketch_to_areas(sketch)
    curves = list(_curves(steps))
    if not curves:
        return _Builder(0.0).build(steps)
    guess = fineness(curves, _guessed_area(steps), miss)
    region = _Builder(guess).build(steps)
    needed = fineness(curves, region.area(), miss)
    return region if needed <= 1.3 * guess else _Builder(needed).build(steps)


def fineness(curves: list[tuple[float, float]], area: float, miss: float) -> float:
    """The factor k with which circles of k r^(2/3) sides miss the share ``miss`` of an area.

    Args:
        curves: (radius, turn in rad) of every circle and arc.
        area: of the sketch.
        miss: as in ``sketch_to_region``.
    """
    weight = sum(turn * radius ** (2 / 3) for radius, turn in curves)
    return math.sqrt(CIRCLE_MISS * weight / (2 * miss * area)) if area > 0 else math.inf


def num_sides(radius: float, k: float) -> int:
    """Sides of a full turn at a radius; see ``fineness``."""
    wanted = k * radius ** (2 / 3)
    return next((sides for sides in SIDES if sides >= 0.9 * wanted), SIDES[-1])


def _curves(steps: Steps) -> Iterator[tuple[float, float]]:
    for _, area in steps:
        if isinstance(area, Disc):
            yield area.radius, 2 * math.pi
        elif isinstance(area, Group):
            yield from _curves(area.steps)
        elif isinstance(area, Enclosed):
            for loop in area.outer + area.holes:
                for start, middle, end in loop:
                    if middle is not None:
                        arc = arc_shape(start, middle, end)
                        yield arc.radius, abs(arc.sweep)


def _guessed_area(steps: Steps) -> float:
    """What is added less what is cut, as if nothing overlapped; at least a tenth of the former."""
    sums = {"a": 0.0, "s": 0.0}
    for mode, area in steps:
        if isinstance(area, Disc):
            sums[mode] += math.pi * area.radius**2
        elif isinstance(area, Block):
            sums[mode] += area.size[0] * area.size[1]
        elif isinstance(area, Group):
            sums[mode] += _guessed_area(area.steps)
        else:
            sums[mode] += sum(map(loop_area, area.outer)) - sum(map(loop_area, area.holes))
    return max(sums["a"] - sums["s"], 0.1 * sums["a"])


class _Builder:
    """Adds and cuts areas; ``k`` says how fine, see ``fineness``."""

    def __init__(self, k: float) -> None:
        self.k = k

    def build(self, steps: Steps) -> m3.CrossSection:
        region = m3.CrossSection()
        for mode, area in steps:
            shape = self._shape(area)
            if mode == "a":
                region = shape if region.is_empty() else region + shape
            elif region.is_empty():
                raise InvalidShape("there is nothing to cut from")
            else:
                region = region - shape
        return region

    def _shape(self, area: Disc | Block | Enclosed | Group) -> m3.CrossSection:
        if isinstance(area, Disc):
            corners = unit_circle(num_sides(area.radius, self.k)) * area.radius
            return m3.CrossSection([corners + area.at], m3.FillRule.Positive)
        if isinstance(area, Block):
            shape = m3.CrossSection.square(area.size, True)
        elif isinstance(area, Group):
            shape = self.build(area.steps)
        else:
            shape = self._enclosed(area)
        return shape if area.at == (0, 0) else shape.translate(area.at)

    def _enclosed(self, area: Enclosed) -> m3.CrossSection:
        outer, *others = [loop_to_region(loop, self.k) for loop in area.outer]
        for other in others:
            outer = outer + other
        for hole in area.holes:
            outer = outer - loop_to_region(hole, self.k)
        return outer


def loop_to_region(loop: Chain, k: float = 0.0) -> m3.CrossSection:
    """The area inside a closed loop.

    Args:
        loop: counter-clockwise.
        k: how fine, see ``fineness``.

    Raises:
        InvalidShape: the loop crosses itself.
    """
    sides = [_edge_sides(edge, k) for edge in loop]
    while True:
        corners = np.array(loop_to_corners(loop, sides))
        region = m3.CrossSection([corners], m3.FillRule.Positive)
        area = signed_area(corners)
        if abs(region.area() - area) <= 1e-6 * abs(area) + 1e-6:
            return region
        if max(sides) == 0 or min(num for num in sides if num) >= FINEST:
            raise InvalidShape("a loop of edges crosses itself")
        sides = [4 * num for num in sides]  # two arcs may come close without crossing


def _edge_sides(edge: Edge, k: float) -> int:
    start, middle, end = edge
    if middle is None:
        return 0
    return num_sides(arc_shape(start, middle, end).radius, k)
