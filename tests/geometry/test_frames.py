"""Frames: where bounds land, that every way can be walked back, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import manifold3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadwright.errors import GeometryError
from cadwright.geometry.frames import (
    PROGRAM_TO_MODEL,
    PROGRAM_TO_UNIT,
    Placement,
    longest_side,
    normalise,
    placement_to_model,
    placement_to_program,
    placement_to_unit,
)
from cadwright.geometry.manifolds import manifold_to_mesh

FRAMES = {placement_to_model: (2, 0), placement_to_unit: (1, 0.5), placement_to_program: (200, 0)}

shifts = st.tuples(*[st.floats(-1e6, 1e6)] * 3)
placements = st.builds(Placement, st.floats(1e-3, 1e3), shifts)


@pytest.mark.parametrize(("place", "side", "centre"), [(f, *v) for f, v in FRAMES.items()])
@settings(deadline=None)  # a busy machine must not fail a test
@given(corner=shifts, sides=st.tuples(*[st.floats(1e-3, 1e6)] * 3))
def test_bounds_land_centred_and_with_the_longest_side_of_the_frame(
    place, side, centre, corner, sides
) -> None:
    bounds = np.array([corner, np.add(corner, sides)])
    lower, upper = place(bounds).apply(bounds)
    size = np.abs(bounds).max() / longest_side(bounds)  # digits lost far from the origin
    assert np.allclose((lower + upper) / 2, centre, rtol=0, atol=1e-15 * side * size + 1e-12)
    assert (upper - lower).max() == pytest.approx(side, abs=1e-15 * side * size + 1e-12)


@settings(deadline=None)  # a busy machine must not fail a test
@given(way=placements, point=shifts)
def test_the_inverse_walks_back(way: Placement, point) -> None:
    back = way.inverse().apply(way.apply(point))
    assert np.allclose(back, point, rtol=1e-12, atol=1e-6)


@settings(deadline=None)  # a busy machine must not fail a test
@given(outer=placements, inner=placements, point=shifts)
def test_compose_is_the_inner_way_first(outer: Placement, inner: Placement, point) -> None:
    two_steps = outer.apply(inner.apply(point))
    assert np.allclose(outer.compose(inner).apply(point), two_steps, rtol=1e-12, atol=1e-6)


def test_the_fixed_ways_agree_with_the_ways_from_bounds() -> None:
    box = np.array([[-100.0, -80, -20], [100, 80, 20]])
    assert np.allclose(PROGRAM_TO_MODEL.apply(box), placement_to_model(box).apply(box))
    assert np.allclose(PROGRAM_TO_UNIT.apply(box), placement_to_unit(box).apply(box))
    assert np.allclose(placement_to_program(box).apply(box), box)


def test_apply_gives_float64_of_the_same_shape() -> None:
    for shape in [(3,), (5, 3), (2, 5, 3)]:
        moved = PROGRAM_TO_UNIT.apply(np.full(shape, 100, dtype=np.float32))
        assert moved.shape == shape and moved.dtype == np.float64 and (moved == 1).all()


def test_normalise_keeps_the_faces_and_scales_the_volume() -> None:
    mesh = manifold_to_mesh(manifold3d.Manifold.cube((3.0, 2.0, 1.0)).translate((7.0, 8.0, 9.0)))
    inner = normalise(mesh, placement_to_unit(mesh.bounds))
    assert np.array_equal(inner.faces, mesh.faces)
    assert np.allclose(inner.bounds, [[0, 1 / 6, 1 / 3], [1, 5 / 6, 2 / 3]])
    assert inner.signed_volume == pytest.approx(6 / 27)


def test_a_placement_cannot_be_changed_from_outside() -> None:
    offset = np.zeros(3)
    way = Placement(2, offset)
    offset[0] = 5
    assert way.apply([1, 1, 1]).tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match="read-only"):
        way.offset[0] = 5


@pytest.mark.parametrize(
    "bounds",
    [
        np.zeros((2, 3)),
        [[1, 1, 1], [1, 1, 1]],
        [[0, 0, 0], [1, np.nan, 1]],
        [[0, 0, 0], [1, np.inf, 1]],
        [[-1.7e308] * 3, [1.7e308] * 3],
        [[0, 0, 0], [5e-324, 0, 0]],
        np.zeros((3, 3)),
    ],
)
@pytest.mark.parametrize("place", FRAMES)
def test_bounds_without_a_usable_extent_are_refused(place, bounds) -> None:
    with pytest.raises(GeometryError):
        place(bounds)


@pytest.mark.parametrize(
    ("scale", "offset"),
    [(0, (0, 0, 0)), (-1, (0, 0, 0)), (np.nan, (0, 0, 0)), (1, (0, np.inf, 0)), (1, (0, 0))],
)
def test_a_placement_that_loses_the_shape_is_refused(scale, offset) -> None:
    with pytest.raises(GeometryError):
        Placement(scale, offset)


def test_a_flat_or_thin_shape_is_fine() -> None:
    assert longest_side([[0, 0, 0], [4, 2, 0]]) == 4


@pytest.mark.parametrize(
    "module", ["frames", "mesh_io", "mesh_to_points", "metrics", "surface_distance", "atomic"]
)
def test_importing_geometry_imports_nothing_heavy(module: str) -> None:
    heavy = "{'trimesh', 'manifold3d', 'scipy', 'fpsample', 'numba', 'torch', 'OCP', 'cadquery'}"
    code = f"import sys, cadwright.geometry.{module}; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
