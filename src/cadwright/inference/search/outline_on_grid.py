"""Numbers read off a solid or a scan -> multiples of a step, edges too short for it dropped.

In: outlines in PROGRAM units. Out: the same outlines on the grid of the step: of whole units
where noise hides more, of a ten-thousandth of the part where the solid itself was read. Not
covered: rounder numbers in the user's unit (``program.round_numbers``).
"""

from __future__ import annotations

import math

from cadwright.program.grammar import Number, Point2, tidy
from cadwright.program.outline import (
    CircleLoop,
    EdgeLoop,
    Loop,
    LoopError,
    Outline,
    RectLoop,
    rounded,
)

FINE = 0.02  # PROGRAM units: the step where numbers are read off a solid
WHOLE = 1.0  # and where they are read off cells or noisy points


def on_step(value: float, step: float) -> Number:
    """The nearest multiple; values that a computation parted by a hair have the same one."""
    return tidy(round(round(value, 4) / step) * step)


def point_on_step(point: Point2, step: float) -> tuple[Number, Number]:
    """The nearest point whose coordinates are multiples."""
    return on_step(point[0], step), on_step(point[1], step)


def outline_on_grid(outline: Outline, step: float) -> Outline:
    """Edges too short for whole numbers dropped, the others' corners put on multiples of ``step``.

    Args:
        outline: PROGRAM units.
        step: ``FINE`` or ``WHOLE``.

    Raises:
        LoopError: the outer loop is too small.
    """
    holes = []
    for hole in outline.holes:
        try:
            holes.append(_loop_on_grid(hole, step))
        except LoopError:
            continue  # a hole below the grid's resolution
    return Outline(_loop_on_grid(outline.outer, step), tuple(holes))


def _loop_on_grid(loop: Loop, step: float) -> Loop:
    whole = rounded(loop)
    if step == WHOLE:
        return whole
    if isinstance(loop, CircleLoop):
        return CircleLoop(point_on_step(loop.center, step), on_step(loop.radius, step))
    if isinstance(loop, RectLoop):
        return RectLoop(point_on_step(loop.center, step), point_on_step(loop.size, step))
    assert isinstance(whole, EdgeLoop)
    exact = [*loop.points, *(middle for middle in loop.middles if middle is not None)]

    def nearest(point: Point2) -> Point2:
        near = min(exact, key=lambda one: math.dist(one, point))
        return point_on_step(near, step) if math.dist(near, point) < 1 else point

    return EdgeLoop(
        tuple(nearest(point) for point in whole.points),
        tuple(None if middle is None else nearest(middle) for middle in whole.middles),
    )
