"""Random areas: 3 to 8 circles and rotated rectangles, combined by union and cut.

After CAD-Recode (arXiv 2412.14042), algorithm 1: draw primitives, combine them,
take the boundary loops, express them as lines, arcs and circles. Beyond it:
drilled holes and rings, single or mirrored, because real parts have them.
In: a random generator. Out: outlines in a drawing frame about +-100.
"""

from __future__ import annotations

import manifold3d as m3
import numpy as np

from cadwright.program.outline import (
    CircleLoop,
    Loop,
    LoopError,
    Outline,
    RectLoop,
    loop_corners,
    signed_area,
)
from cadwright.synth.polygon_to_loop import SIDES, polygon_to_loop
from cadwright.types import FloatArray

SMALLEST_AREA = 60.0  # of a component or hole, in the drawing frame's units squared


def draw_outlines(rng: np.random.Generator) -> list[Outline]:
    """One sketch's areas.

    Raises:
        LoopError: the random areas left nothing usable.
    """
    if rng.random() < 0.40:
        outlines = [_draw_simple(rng)]
    else:
        outlines = _draw_combined(rng)
    if rng.random() < 0.38:
        outlines = _drill(rng, outlines)
    if rng.random() < 0.08 and len(outlines) == 1:
        outlines.append(_draw_overlapping(rng))
    return outlines


def _draw_simple(rng: np.random.Generator) -> Outline:
    if rng.random() < 0.5:
        radius = rng.uniform(15, 100)
        return Outline(CircleLoop(_center(rng, 60), radius))
    return Outline(RectLoop(_center(rng, 60), (rng.uniform(20, 200), rng.uniform(20, 200))))


def _draw_overlapping(rng: np.random.Generator) -> Outline:
    """A plain shape of its own beside the others, which it may overlap."""
    if rng.random() < 0.5:
        return Outline(CircleLoop(_center(rng, 100), rng.uniform(10, 50)))
    return Outline(RectLoop(_center(rng, 100), (rng.uniform(15, 100), rng.uniform(15, 100))))


def _center(rng: np.random.Generator, spread: float) -> tuple[float, float]:
    return (float(rng.uniform(-spread, spread)), float(rng.uniform(-spread, spread)))


def _draw_combined(rng: np.random.Generator) -> list[Outline]:
    """CAD-Recode's algorithm 1."""
    count = int(rng.integers(3, 9)) if rng.random() < 0.6 else int(rng.integers(2, 4))
    circle_share = rng.choice([0.1, 0.5, 0.7, 0.85])
    circles: list[tuple[float, float, float]] = []
    area = m3.CrossSection()
    for k in range(count):
        if rng.random() < circle_share:
            x, y = _center(rng, 75)
            radius = float(rng.uniform(15, 70) if k else rng.uniform(40, 90))
            circles.append((x, y, radius))
            shape = m3.CrossSection.circle(radius, SIDES).translate((x, y))
        else:
            shape = _rectangle(rng, first=k == 0)
        area = area - shape if k and rng.random() < 0.4 else area + shape
    return _area_to_outlines(area, np.array(circles).reshape(-1, 3))


def _rectangle(rng: np.random.Generator, *, first: bool) -> m3.CrossSection:
    low, high = (40, 200) if first else (15, 150)
    size = (float(rng.uniform(low, high)), float(rng.uniform(low, high)))
    angle = 0.0 if rng.random() < 0.75 else float(rng.uniform(0, 180))
    return m3.CrossSection.square(size, True).rotate(angle).translate(_center(rng, 75))


def _area_to_outlines(area: m3.CrossSection, circles: FloatArray) -> list[Outline]:
    outlines = []
    for component in area.decompose():
        if component.area() < 4 * SMALLEST_AREA:
            continue
        loops: list[tuple[float, Loop]] = []
        for polygon in component.to_polygons():
            corners = np.asarray(polygon, dtype=np.float64)
            size = abs(signed_area(corners))
            if size >= SMALLEST_AREA:
                loops.append((size, polygon_to_loop(corners, circles)))
        loops.sort(key=lambda pair: -pair[0])
        outlines.append(Outline(loops[0][1], tuple(loop for _, loop in loops[1:])))
    if not outlines or len(outlines) > 3:
        raise LoopError("no area or too many pieces")
    return outlines


def _drill(rng: np.random.Generator, outlines: list[Outline]) -> list[Outline]:
    """Holes inside the largest outline: in its middle, or one to four mirrored ones."""
    outline, *others = outlines
    region = outline_to_area(outline)
    low_x, low_y, high_x, high_y = region.bounds()
    middle = ((low_x + high_x) / 2, (low_y + high_y) / 2)
    half = ((high_x - low_x) / 2, (high_y - low_y) / 2)
    holes = list(outline.holes)
    for center, size in _hole_places(rng, middle, half):
        hole = _hole(rng, center, size)
        grown = outline_to_area(Outline(hole)).offset(3.0, m3.JoinType.Miter)
        if (grown - region).area() < 1e-6:
            holes.append(hole)
            region = region - grown
    return [Outline(outline.outer, tuple(holes)), *others]


def _hole_places(
    rng: np.random.Generator, middle: tuple[float, float], half: tuple[float, float]
) -> list[tuple[tuple[float, float], float]]:
    small = min(half)
    if rng.random() < 0.45:
        return [(middle, float(small * rng.uniform(0.2, 0.95)))]
    dx, dy = half[0] * rng.uniform(0.2, 0.8), half[1] * rng.uniform(0.2, 0.8)
    signs = [(1, 1), (-1, -1), (1, -1), (-1, 1)][: int(rng.choice([1, 2, 4]))]
    if len(signs) == 2 and rng.random() < 0.6:
        dx, dy = (dx, 0.0) if half[0] > half[1] else (0.0, dy)
    size = float(small * rng.uniform(0.08, 0.4))
    return [((middle[0] + sx * dx, middle[1] + sy * dy), size) for sx, sy in signs]


def _hole(rng: np.random.Generator, center: tuple[float, float], size: float) -> Loop:
    if rng.random() < 0.75:
        return CircleLoop(center, size)
    return RectLoop(center, (2 * size, 2 * size * float(rng.uniform(0.4, 1.6))))


def outline_to_area(outline: Outline) -> m3.CrossSection:
    """The area of an outline as polygons, drawing frame."""
    area = _loop_area(outline.outer)
    for hole in outline.holes:
        area = area - _loop_area(hole)
    return area


def _loop_area(loop: Loop) -> m3.CrossSection:
    if isinstance(loop, CircleLoop):
        return m3.CrossSection.circle(loop.radius, SIDES).translate(loop.center)
    if isinstance(loop, RectLoop):
        return m3.CrossSection.square(loop.size, True).translate(loop.center)
    return m3.CrossSection([loop_corners(loop)], m3.FillRule.NonZero)
