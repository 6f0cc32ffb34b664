"""Regions: as many sides as are needed, holes told from areas beside, rims moved inwards."""

from __future__ import annotations

import math

import manifold3d as m3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadwright.program.arcs import InvalidShape, signed_area
from cadwright.program.chains import Edge, cut_corners, edges_to_loop, loop_area, sort_loops
from cadwright.program.insets import inset_rings
from cadwright.program.sketch_to_areas import Enclosed, Group, sketch_to_areas
from cadwright.program.sketch_to_region import sketch_to_region
from cadwright.program.text_to_program import text_to_program

HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\nr="
SQUARE = ((0, 0), (40, 0), (40, 40), (0, 40))


def region(ops: str, **options: float) -> m3.CrossSection:
    text = f"{HEAD}w0.sketch(){ops}.finalize().extrude(1)"
    return sketch_to_region(text_to_program(text).bodies[0].sketch, **options)  # type: ignore[union-attr]


def loop(*corners: tuple[float, float]) -> tuple[Edge, ...]:
    ends = corners[1:] + corners[:1]
    return edges_to_loop([Edge(a, None, b) for a, b in zip(corners, ends, strict=True)])


@pytest.mark.parametrize("miss", [0.003, 0.0015, 0.0005])
@pytest.mark.parametrize(
    "ops",
    [
        ".circle(50)",
        ".circle(50).circle(40,mode='s')",
        ".circle(50).push([(20,0)]).circle(20,mode='s')",
        ".rect(100,60).push([(30,0)]).circle(20,mode='s').push([(-30,0)]).circle(5,mode='s')",
        ".segment((-50,0),(50,0)).arc((0,90),(-50,0)).assemble().push([(0,30)]).circle(9,mode='s')",
    ],
)
def test_polygons_miss_no_more_than_they_may(ops: str, miss: float) -> None:
    rough, fine = region(ops, miss=miss), region(ops, miss=1e-7)
    between = (rough - fine).area() + (fine - rough).area()
    assert between <= 1.5 * miss * fine.area()
    assert rough.area() == pytest.approx(fine.area(), rel=1e-6)
    np.testing.assert_allclose(rough.bounds(), fine.bounds(), atol=1e-6)


def test_arcs_that_come_close_are_made_finer_and_do_not_cross() -> None:
    lens = region(
        ".arc((-50,0),(0,10),(50,0)).segment((50,-0.2)).arc((0,9.7),(-50,-0.2)).close().assemble()"
    )
    assert 0 < lens.area() < 50


@pytest.mark.parametrize(
    ("edges", "crosses"),
    [
        # the arc arrives at (-79, 37) a hair beyond the line on which the outline goes back
        (
            [
                Edge((-53, -7), (-72, 11), (-79, 37)),
                Edge((-79, 37), None, (-80, -40)),
                Edge((-80, -40), None, (-53, -7)),
            ],
            True,
        ),
        ([Edge((0, 0), None, (10, 0)), Edge((10, 0), (6, 4), (6, -2))], True),
        ([Edge((-10, 0), (0, 10), (10, 0)), Edge((10, 0), None, (-10, 0))], False),
        ([Edge((-10, 0), (0, 10), (10, 0)), Edge((10, 0), (0, -10), (-10, 0))], False),
        ([Edge((-10, 0), (0, 10), (10, 0)), Edge((10, 0), (0, 4), (-10, 0))], False),
    ],
)
def test_edges_that_meet_again_after_a_corner_cross(edges: list[Edge], crosses: bool) -> None:
    if edges[-1].end != edges[0].start:
        edges = [*edges, Edge(edges[-1].end, None, edges[0].start)]
    if not crosses:
        assert loop_area(edges_to_loop(edges)) > 0
        return
    with pytest.raises(InvalidShape, match="crosses itself at a corner"):
        edges_to_loop(edges)


def test_a_later_loop_is_a_hole_beside_or_an_error() -> None:
    outer = loop(*SQUARE)
    hole = loop((10, 10), (20, 10), (20, 20), (10, 20))
    beside = loop((60, 0), (70, 0), (70, 10))
    assert sort_loops([outer, hole, beside]) == ((outer, beside), (hole,))
    with pytest.raises(InvalidShape, match="around"):
        sort_loops([hole, outer])


def test_loops_are_turned_counter_clockwise() -> None:
    assert loop_area(loop(*SQUARE[::-1])) == pytest.approx(1600)
    assert loop_area(loop(*SQUARE)) == pytest.approx(1600)


def test_a_sketch_is_read_into_areas_at_their_points() -> None:
    text = (
        f"{HEAD}w0.sketch().rect(9,9).push([(1,2)]).face(w0.sketch().push([(3,4)]).circle(5)"
        ",mode='s').finalize().extrude(1)"
    )
    steps = sketch_to_areas(text_to_program(text).bodies[0].sketch)  # type: ignore[union-attr]
    assert [mode for mode, _ in steps] == ["a", "s"]
    group = steps[1].area
    assert isinstance(group, Group)
    assert group.at == (1, 2)
    assert group.steps[0].area.at == (3, 4)


@given(st.integers(1, 19))
def test_cut_corners_of_a_square(size: int) -> None:
    square = loop(*SQUARE)
    assert loop_area(cut_corners(square, "chamfer", size)) == pytest.approx(1600 - 2 * size**2)
    rounded = cut_corners(square, "fillet", size)
    assert loop_area(rounded) == pytest.approx(1600 - (4 - math.pi) * size**2)
    assert all(a.end == b.start for a, b in zip(rounded, rounded[1:] + rounded[:1], strict=True))


def test_corners_in_one_line_stay() -> None:
    triangle = loop((0, 0), (20, 0), (40, 0), (0, 30))
    assert len(cut_corners(triangle, "fillet", 2)) == 7


def test_corners_are_replaced_in_a_straight_outline_only() -> None:
    steps = sketch_to_areas(
        text_to_program(
            f"{HEAD}w0.sketch().rect(40,20).vertices().fillet(10).finalize().extrude(1)"
        )
        .bodies[0]
        .sketch  # type: ignore[union-attr]
    )
    area = steps[0].area
    assert isinstance(area, Enclosed)
    assert len(area.outer[0]) == 6  # four arcs and the two long sides


@given(st.floats(0, 9.9))
def test_insets_of_a_rectangle_with_a_hole(inset: float) -> None:
    outer = np.array([(0, 0), (80, 0), (80, 60), (0, 60)], float)
    hole = np.array([(30, 20), (30, 40), (50, 40), (50, 20)], float)
    ((moved, grown),) = inset_rings([outer, hole], [inset])
    assert signed_area(moved) == pytest.approx((80 - 2 * inset) * (60 - 2 * inset))
    assert signed_area(grown) == pytest.approx(-((20 + 2 * inset) ** 2))


def test_short_edges_vanish_on_the_way_and_their_corners_coincide() -> None:
    bevelled = np.array([(0, 0), (40, 0), (40, 38), (38, 40), (0, 40)], float)
    small, large = inset_rings([bevelled], [1.0, 10.0])
    assert signed_area(small[0]) == pytest.approx(38**2 - 1)  # the bevel's legs are sqrt(2) now
    assert len(large[0]) == 5
    np.testing.assert_array_equal(large[0][2], large[0][3])
    assert signed_area(large[0]) == pytest.approx(20**2)


@pytest.mark.parametrize("inset", [10.0, 16.0])
def test_an_outline_that_would_vanish_or_meet_another_is_refused(inset: float) -> None:
    outer = np.array([(0, 0), (80, 0), (80, 30), (0, 30)], float)
    hole = np.array([(30, 12), (30, 18), (50, 18), (50, 12)], float)
    polygons = [outer, hole] if inset == 10.0 else [outer]
    with pytest.raises(InvalidShape, match="does not fit"):
        inset_rings(polygons, [inset])
