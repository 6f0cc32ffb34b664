"""Polygons for circles and arcs keep area and extent."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cadwright.program.arcs import InvalidShape, arc_corners, arc_shape, signed_area, unit_circle

points = st.tuples(st.integers(-100, 100), st.integers(-100, 100))


@pytest.mark.parametrize("sides", [16, 20, 40, 64, 128])
def test_a_unit_circle_has_area_pi_and_touches_its_box(sides: int) -> None:
    circle = unit_circle(sides)
    assert signed_area(circle) == pytest.approx(math.pi, rel=1e-12)
    np.testing.assert_allclose([circle.min(axis=0), circle.max(axis=0)], [[-1, -1], [1, 1]])
    ahead = np.roll(circle, -1, axis=0) - circle
    (x, y), (x2, y2) = ahead.T, np.roll(ahead, -1, axis=0).T
    assert (x * y2 - y * x2 > 0).all()


@given(points, points, points, st.sampled_from([16, 40, 128]))
def test_an_arc_has_its_area_and_its_extent(
    start: tuple[int, int], middle: tuple[int, int], end: tuple[int, int], sides: int
) -> None:
    try:
        arc = arc_shape(start, middle, end)
    except InvalidShape:
        return
    assume(arc.radius < 2000)
    corners = np.array([start, *arc_corners(start, middle, end, sides)])
    segment = (arc.sweep - math.sin(arc.sweep)) * arc.radius**2 / 2
    assert signed_area(corners) == pytest.approx(segment, rel=1e-5, abs=1e-5 * arc.radius**2)
    angles = arc.first + np.linspace(0, arc.sweep, 4001)
    round_arc = np.stack([arc.x + arc.radius * np.cos(angles), arc.y + arc.radius * np.sin(angles)])
    slack = 1e-6 * arc.radius
    np.testing.assert_allclose(corners.min(axis=0), round_arc.min(axis=1), atol=slack)
    np.testing.assert_allclose(corners.max(axis=0), round_arc.max(axis=1), atol=slack)


def test_three_points_in_line_are_no_arc() -> None:
    with pytest.raises(InvalidShape, match="line"):
        arc_corners((0, 0), (1, 1), (3, 3), 64)
