"""Random areas: 3 to 8 circles and rotated rectangles, combined by union and cut.

After CAD-Recode (arXiv 2412.14042), algorithm 1: draw primitives, combine them,
take the boundary loops, express them as lines, arcs and circles. Beyond it: plain shapes,
drilled holes, thin frames, and shapes laid over each other, because real parts have them.
In: a random generator. Out: outlines in a drawing frame about +-100.
"""

from __future__ import annotations

from typing import NamedTuple

import manifold3d as m3
import numpy as np

from cadwright.program.grammar import Point2
from cadwright.program.outline import (
    CircleLoop,
    EdgeLoop,
    Loop,
    LoopError,
    Outline,
    RectLoop,
    loop_corners,
)
from cadwright.synth.polygon_to_loop import OUTSIDE, SIDES, polygon_area, polygon_to_loop
from cadwright.types import FloatArray

SMALLEST_AREA = 60.0  # of a component or hole, in the drawing frame's units squared
MOST_OUTLINES = 4
SMALLEST_CHANGE = 0.02  # share of a sketch's area that a shape laid over it changes
# shares of sketches
PLAIN = 0.36  # one circle or rectangle to begin with
LONE_RECTANGLE = 0.05  # one rotated rectangle
DRILLED = 0.32
HOLLOW = 0.22  # of the drilled circles and rectangles: a thin ring or frame
LAID_OVER = 0.13  # a second plain shape beside or over the first


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """An even draw; a third of the time that ``rng.uniform`` takes for one number."""
    return low + (high - low) * rng.random()


class Drawing(NamedTuple):
    """One sketch twice over: as outlines, and as the area of polygons, drawing frame."""

    outlines: list[Outline]
    area: m3.CrossSection


def draw_sketch(rng: np.random.Generator) -> Drawing:
    """One sketch's areas.

    Raises:
        LoopError: the random areas left nothing usable.
    """
    kind = rng.random()
    if kind < PLAIN:
        drawing = _draw_simple(rng)
    elif kind < PLAIN + LONE_RECTANGLE:
        drawing = _area_to_drawing(_rectangle(rng, first=True, turned=True), np.zeros((0, 3)))
    else:
        drawing = _draw_combined(rng)
    if rng.random() < DRILLED:
        drawing = _drill(rng, drawing)
    if rng.random() < LAID_OVER and len(drawing.outlines) < MOST_OUTLINES:
        drawing = _lay_over(rng, drawing)
    return drawing


def _draw_simple(rng: np.random.Generator) -> Drawing:
    if rng.random() < 0.5:
        return _plain(CircleLoop(_center(rng, 60), between(rng, 15, 100)))
    size = (between(rng, 20, 200), between(rng, 20, 200))
    if rng.random() < 0.15:  # a rib or a plate on edge
        thin = between(rng, 7, 22)
        size = (thin, size[1]) if rng.random() < 0.5 else (size[0], thin)
    return _plain(RectLoop(_center(rng, 60), size))


def _plain(loop: CircleLoop | RectLoop) -> Drawing:
    return Drawing([Outline(loop)], _loop_area(loop))


def _lay_over(rng: np.random.Generator, drawing: Drawing) -> Drawing:
    """One more plain shape, at times with a hole, that shows: in the area or beside it."""
    if rng.random() < 0.5:
        shape = _plain(CircleLoop(_center(rng, 90), between(rng, 10, 55)))
    else:
        size = (between(rng, 12, 150), between(rng, 12, 110))
        shape = _plain(RectLoop(_center(rng, 90), size))
    after = drawing.area + shape.area
    if rng.random() < 0.35:
        shape = _drill(rng, shape)
        for hole in shape.outlines[0].holes:
            after = after - _loop_area(hole)
    changed = (after - drawing.area).area() + (drawing.area - after).area()
    if changed < SMALLEST_CHANGE * after.area():
        return drawing
    return Drawing([*drawing.outlines, *shape.outlines], after)


def _center(rng: np.random.Generator, spread: float) -> Point2:
    x, y = rng.random(2).tolist()
    return ((2 * x - 1) * spread, (2 * y - 1) * spread)


def _draw_combined(rng: np.random.Generator) -> Drawing:
    """CAD-Recode's algorithm 1."""
    count = int(rng.integers(3, 9)) if rng.random() < 0.6 else int(rng.integers(2, 4))
    circle_share = (0.1, 0.5, 0.7, 0.85)[int(rng.integers(4))]
    circles: list[tuple[float, float, float]] = []
    area = m3.CrossSection()
    for k in range(count):
        if rng.random() < circle_share:
            x, y = _center(rng, 75)
            radius = between(rng, 15, 70) if k else between(rng, 40, 90)
            circles.append((x, y, radius))
            shape = _circle((x, y), radius)
        else:
            shape = _rectangle(rng, first=k == 0, turned=rng.random() >= 0.75)
        area = area - shape if k and rng.random() < 0.4 else area + shape
    return _area_to_drawing(area, np.array(circles).reshape(-1, 3))


def _rectangle(rng: np.random.Generator, *, first: bool, turned: bool) -> m3.CrossSection:
    low, high = (40, 200) if first else (15, 150)
    shape = m3.CrossSection.square((between(rng, low, high), between(rng, low, high)), True)
    if turned:
        shape = shape.rotate(between(rng, 0, 180))
    return shape.translate(_center(rng, 75))


def _area_to_drawing(area: m3.CrossSection, circles: FloatArray) -> Drawing:
    outlines = []
    for component in area.decompose():
        if component.area() < 4 * SMALLEST_AREA:
            area = area - component
            continue
        loops: list[tuple[float, Loop]] = []
        polygons = component.to_polygons()
        for corners in polygons:
            size = component.area() if len(polygons) == 1 else abs(polygon_area(corners))
            if size >= SMALLEST_AREA:
                loops.append((size, polygon_to_loop(corners, circles)))
        loops.sort(key=lambda pair: -pair[0])
        outlines.append(Outline(loops[0][1], tuple(loop for _, loop in loops[1:])))
    if not outlines or len(outlines) > MOST_OUTLINES - 1:
        raise LoopError("no area or too many pieces")
    return Drawing(outlines, area)


def _drill(rng: np.random.Generator, drawing: Drawing) -> Drawing:
    """Holes inside the first outline: a hollow, one in its middle, or one to four mirrored."""
    outline, *others = drawing.outlines
    area = drawing.area
    if rng.random() < HOLLOW and not outline.holes and not isinstance(outline.outer, EdgeLoop):
        hollow = _hollow(rng, outline.outer)
        return Drawing([Outline(outline.outer, (hollow,)), *others], area - _loop_area(hollow))
    region = outline_to_area(outline) if others else area
    low_x, low_y, high_x, high_y = region.bounds()
    middle = ((low_x + high_x) / 2, (low_y + high_y) / 2)
    half = ((high_x - low_x) / 2, (high_y - low_y) / 2)
    holes = list(outline.holes)
    aspect = 0.0 if rng.random() < 0.75 else between(rng, 0.4, 1.6)
    for center, size in _hole_places(rng, middle, half):
        hole: Loop = CircleLoop(center, size)
        if aspect:
            hole = RectLoop(center, (2 * size, 2 * size * aspect))
        cut = _loop_area(hole)
        grown = cut.offset(3.0, m3.JoinType.Miter)
        if (grown - region).area() < 1e-6:
            holes.append(hole)
            region, area = region - grown, area - cut
    return Drawing([Outline(outline.outer, tuple(holes)), *others], area)


def _hollow(rng: np.random.Generator, outer: CircleLoop | RectLoop) -> Loop:
    """The same shape again, smaller by a wall: thin rings and frames."""
    if isinstance(outer, CircleLoop):
        return CircleLoop(outer.center, outer.radius * between(rng, 0.5, 0.95))
    room = min(outer.size) / 2
    wall_x, wall_y = (room * between(rng, 0.08, 0.6) for _ in range(2))
    if rng.random() < 0.5:
        wall_y = wall_x
    return RectLoop(outer.center, (outer.size[0] - 2 * wall_x, outer.size[1] - 2 * wall_y))


def _hole_places(
    rng: np.random.Generator, middle: Point2, half: Point2
) -> list[tuple[Point2, float]]:
    small = min(half)
    if rng.random() < 0.45:
        return [(middle, small * between(rng, 0.2, 0.95))]
    dx, dy = half[0] * between(rng, 0.2, 0.8), half[1] * between(rng, 0.2, 0.8)
    signs = [(1, 1), (-1, -1), (1, -1), (-1, 1)][: (1, 2, 4)[int(rng.integers(3))]]
    if len(signs) == 2 and rng.random() < 0.6:
        dx, dy = (dx, 0.0) if half[0] > half[1] else (0.0, dy)
    size = small * between(rng, 0.08, 0.4)
    return [((middle[0] + sx * dx, middle[1] + sy * dy), size) for sx, sy in signs]


def outline_to_area(outline: Outline) -> m3.CrossSection:
    """The area of an outline as polygons, drawing frame."""
    area = _loop_area(outline.outer)
    for hole in outline.holes:
        area = area - _loop_area(hole)
    return area


def _loop_area(loop: Loop) -> m3.CrossSection:
    if isinstance(loop, CircleLoop):
        return _circle(loop.center, loop.radius)
    if isinstance(loop, RectLoop):
        return m3.CrossSection.square(loop.size, True).translate(loop.center)
    return m3.CrossSection([loop_corners(loop)], m3.FillRule.NonZero)


def _circle(center: Point2, radius: float) -> m3.CrossSection:
    return m3.CrossSection.circle(radius * (1 + OUTSIDE), SIDES).translate(center)
