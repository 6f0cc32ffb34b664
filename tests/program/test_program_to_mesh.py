"""The fast kernel against geometry that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cadwright.program.grammar import (
    Box,
    Cylinder,
    Extrude,
    Plane,
    Program,
    Rect,
    Sketch,
    numbers,
    with_numbers,
)
from cadwright.program.program_to_mesh import arc_points, circle_through, program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import BuildResult, Mesh, Outcome

HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\nr="
SQUARE = ".segment((0,0),(40,0)).segment((40,40)).segment((0,40)).close().assemble()"
sides = st.integers(1, 200)
places = st.integers(-100, 100)
axes = st.sampled_from(["XY", "YZ", "ZX"])


def build(text: str) -> BuildResult:
    return program_to_mesh(text_to_program(HEAD + text))


def sketch(ops: str, height: int = 10) -> BuildResult:
    return build(f"w0.sketch(){ops}.finalize().extrude({height})")


def num_lone_edges(mesh: Mesh) -> int:
    """Directed edges that no other triangle runs along backwards; 0 for a closed mesh."""
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    ahead = sorted(map(tuple, edges.tolist()))
    back = sorted(map(tuple, edges[:, ::-1].tolist()))
    return sum(a != b for a, b in zip(ahead, back, strict=True))


@given(axes, st.tuples(places, places, places), places, st.tuples(places, places), sides, sides)
def test_a_box_has_its_volume_and_place(
    plane: str, origin: tuple[int, ...], twice: int, center: tuple[int, int], a: int, b: int
) -> None:
    body = Box(0, twice, center, (a, b, 7))
    result = program_to_mesh(Program((Plane(plane, origin),), (body,)))  # type: ignore[arg-type]
    assert result.outcome is Outcome.OK
    assert result.volume == pytest.approx(a * b * 7, rel=1e-9)
    assert result.mesh is not None
    order = {"XY": (0, 1, 2), "YZ": (1, 2, 0), "ZX": (2, 0, 1)}[plane]
    middle, extent = np.zeros(3), np.zeros(3)
    middle[list(order)] = [*center, twice / 2]
    extent[list(order)] = [a, b, 7]
    np.testing.assert_allclose(result.mesh.bounds.mean(axis=0), middle + origin, atol=1e-9)
    np.testing.assert_allclose(np.ptp(result.mesh.bounds, axis=0), extent, atol=1e-9)


@given(st.integers(1, 100), st.integers(1, 200))
def test_a_cylinder_has_its_volume_and_its_extents(radius: int, height: int) -> None:
    body = Cylinder(0, 0, (0, 0), height, radius)
    result = program_to_mesh(Program((Plane("XY", (0, 0, 0)),), (body,)))
    assert result.volume == pytest.approx(math.pi * radius**2 * height, rel=1e-6)
    assert result.mesh is not None
    half = [radius, radius, height / 2]
    np.testing.assert_allclose(result.mesh.bounds, [np.negative(half), half], atol=1e-6)
    radii = np.hypot(result.mesh.vertices[:, 0], result.mesh.vertices[:, 1])
    assert radius - 1e-6 <= radii.min() <= radii.max() <= 1.003 * radius


@pytest.mark.parametrize("inner", [1, 10, 40, 47, 49])
def test_a_ring_has_its_volume_however_thin(inner: int) -> None:
    result = sketch(f".circle(50).circle({inner},mode='s')")
    assert result.volume == pytest.approx(10 * math.pi * (50**2 - inner**2), rel=1e-6)


def test_thin_walls_get_finer_polygons() -> None:
    plate, ring = sketch(".circle(50)"), sketch(".circle(50).circle(47,mode='s')")
    assert plate.mesh is not None
    assert ring.mesh is not None
    assert len(ring.mesh.vertices) > 4 * len(plate.mesh.vertices)


def test_an_arc_keeps_its_area_and_its_extents() -> None:
    result = sketch(".segment((-30,-40),(30,-40)).arc((0,50),(-30,-40)).assemble()")
    x, y, radius = circle_through((30, -40), (0, 50), (-30, -40))
    turn = 2 * math.pi - 2 * math.asin(30 / radius)
    assert result.volume == pytest.approx(10 * radius**2 * (turn - math.sin(turn)) / 2, rel=1e-6)
    assert result.mesh is not None
    extents = [[x - radius, -40, 0], [x + radius, y + radius, 10]]
    np.testing.assert_allclose(result.mesh.bounds, extents, atol=1e-6)


@given(st.integers(-100, 100).filter(bool))
def test_an_extrusion_goes_up_or_down_with_its_sign(height: int) -> None:
    program = Program((Plane("XY", (0, 0, 5)),), (Extrude(0, Sketch((Rect(4, 6),)), height),))
    result = program_to_mesh(program)
    assert result.mesh is not None
    low, high = result.mesh.bounds[:, 2]
    assert (low, high) == pytest.approx((5 + min(height, 0), 5 + max(height, 0)))
    assert result.volume == pytest.approx(24 * abs(height))
    assert result.mesh.signed_volume == pytest.approx(result.volume)


@given(st.from_type(Program))
def test_any_program_of_the_grammar_has_an_outcome_and_a_mesh_only_if_ok(program: Program) -> None:
    result = program_to_mesh(program)
    assert (result.mesh is not None) == (result.outcome is Outcome.OK)
    assert bool(result.message) == (result.outcome is not Outcome.OK)
    assert result.outcome in (Outcome.OK, Outcome.EMPTY, Outcome.INVALID)


@given(st.from_type(Program))
def test_a_mesh_is_closed_and_holds_the_volume_told(program: Program) -> None:
    small = [((value * 7) % 200 - 100) or 1 for value in map(int, numbers(program))]
    result = program_to_mesh(with_numbers(program, [abs(v) for v in small]))
    if result.mesh is not None:
        assert num_lone_edges(result.mesh) == 0
        assert result.mesh.signed_volume == pytest.approx(result.volume, rel=1e-6, abs=1e-3)


def test_a_union_is_not_larger_than_its_parts_and_not_smaller_than_the_largest() -> None:
    first, second = (
        "w0.workplane(offset=10/2).box(40,40,10)",
        "w0.workplane(offset=1/2).box(9,9,90)",
    )
    both = build(f"{first}.union({second})").volume
    assert both == pytest.approx(build(f"{second}.union({first})").volume)
    assert build(first).volume < both < build(first).volume + build(second).volume


@pytest.mark.parametrize(
    ("ops", "area"),
    [
        (".rect(40,40)", 1600),
        (".rect(40,40).rect(40,40)", 1600),
        (".rect(40,40).push([(40,0)]).rect(40,40)", 3200),
        (".rect(40,40).push([(10,0)]).rect(10,10,mode='s')", 1500),
        (".rect(40,40).push([(99,99)]).rect(10,10,mode='s')", 1600),
        (".push([(10,10)]).rect(4,4).reset().rect(4,4)", 32),
        (".rect(40,40).face(w0.sketch().push([(5,5)]).rect(10,10),mode='s')", 1500),
        (".rect(40,40).push([(100,0)]).face(w0.sketch().rect(10,10))", 1700),
        (SQUARE, 1600),
        (".push([(100,50)])" + SQUARE, 1600),
        (".segment((0,0),(0,40)).segment((40,40)).segment((40,0)).close().assemble()", 1600),
        (".segment((0,0),(20,0)).segment((40,0)).segment((40,40)).close().assemble()", 800),
        (
            SQUARE + ".segment((10,10),(20,10)).segment((20,20)).segment((10,20))"
            ".segment((10,10)).assemble(mode='s')",
            100,
        ),
    ],
)
def test_a_sketch_covers_the_area_it_draws(ops: str, area: float) -> None:
    result = sketch(ops)
    assert result.outcome is Outcome.OK
    assert result.volume == pytest.approx(10 * area, rel=1e-9)


def test_assemble_stands_at_the_selected_point() -> None:
    result = sketch(".push([(100,50)])" + SQUARE)
    assert result.mesh is not None
    np.testing.assert_allclose(result.mesh.bounds, [[100, 50, 0], [140, 90, 10]], atol=1e-9)


@pytest.mark.parametrize(
    ("ops", "word"),
    [
        (".segment((0,0),(40,0)).segment((40,40)).segment((0,40)).assemble()", "not closed"),
        (".segment((0,0),(40,40)).segment((40,0)).segment((0,60)).close().assemble()", "crosses"),
        (".segment((0,0),(20,0)).segment((40,0)).close().assemble()", "no area"),
        (".segment((0,0),(40,0)).arc((40,10),(40,40)).close().assemble()", "line"),
        (".segment((0,0),(40,0)).arc((60,20),(40,0)).close().assemble()", "line"),
    ],
)
def test_an_impossible_drawing_is_invalid_and_says_why(ops: str, word: str) -> None:
    result = sketch(ops)
    assert result.outcome is Outcome.INVALID
    assert word in result.message


points = st.tuples(st.integers(-100, 100), st.integers(-100, 100))


def cross(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


@given(points, points, points)
def test_an_arc_runs_on_its_circle_through_its_middle_to_its_end(
    start: tuple[int, int], middle: tuple[int, int], end: tuple[int, int]
) -> None:
    if cross(start, middle, end) == 0:
        return
    x, y, radius = circle_through(start, middle, end)
    corners = arc_points(start, middle, end)
    distances = np.hypot(*(np.array(corners) - (x, y)).T)
    np.testing.assert_allclose(distances, radius, rtol=1e-6)
    assert corners[-1] == end
    chord = [start, *corners]
    steps = np.hypot(*np.diff(np.array(chord, float), axis=0).T)
    assert steps.max() <= 2 * radius * math.sin(0.1) + 1e-9
    nearest = np.hypot(*(np.array(chord, float) - middle).T).min()
    assert nearest <= steps.max()
