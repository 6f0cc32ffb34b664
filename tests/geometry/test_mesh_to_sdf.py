"""Sparse SDFs: distances against an exact solid, signs of closed, overlapping and open meshes."""

from __future__ import annotations

import manifold3d as m3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_to_sdf import SdfCost, SparseSdf, mesh_to_sdf, placement_to_grid
from cadwright.geometry.surface_distance import points_to_surface
from cadwright.geometry.welding import flipped
from cadwright.types import Mesh

pytest.importorskip("numba")


def box_mesh(*size: float) -> Mesh:
    return manifold_to_mesh(m3.Manifold.cube(size, True))


def plate_with_hole() -> Mesh:
    plate = m3.Manifold.cube((100, 60, 20), True)
    return manifold_to_mesh(plate - m3.Manifold.cylinder(50, 15, 15, 48, True))


def user_points(sdf: SparseSdf) -> np.ndarray:
    return sdf.placement.inverse().apply(sdf.index)


def in_box(points: np.ndarray, *size: float) -> np.ndarray:
    return (np.abs(points) < np.array(size) / 2).all(axis=1)


@pytest.mark.parametrize("resolution", [16, 29])
def test_distances_are_those_to_the_surface(resolution: int) -> None:
    mesh = plate_with_hole()
    sdf = mesh_to_sdf(mesh, resolution=resolution, threshold_factor=3)
    distances = points_to_surface(user_points(sdf), mesh) * sdf.placement.scale
    assert np.abs(np.abs(sdf.values) * sdf.band - distances).max() < 1e-5


def test_every_sample_within_the_band_is_stored_and_no_other() -> None:
    mesh, resolution = plate_with_hole(), 14
    sdf = mesh_to_sdf(mesh, resolution=resolution, threshold_factor=2)
    everywhere = np.argwhere(np.ones((resolution,) * 3, dtype=bool))
    points = sdf.placement.inverse().apply(everywhere)
    near = points_to_surface(points, mesh) * sdf.placement.scale <= sdf.band
    assert np.array_equal(everywhere[near], sdf.index)


def test_inside_is_negative_for_a_box() -> None:
    sdf = mesh_to_sdf(box_mesh(10, 6, 4), resolution=40, threshold_factor=4)
    assert np.array_equal(sdf.values < 0, in_box(user_points(sdf), 10, 6, 4))
    assert sdf.closed and -1 <= sdf.values.min() < 0 < sdf.values.max() <= 1


def test_samples_exactly_on_faces_and_in_their_planes_have_sides_that_agree() -> None:
    # Longest side 0.95 (R - 1) steps with R = 41: faces at 1 and 39, through samples.
    sdf = mesh_to_sdf(box_mesh(38, 38, 18), resolution=41, threshold_factor=4)
    points = user_points(sdf)
    off = np.abs(sdf.values) > 1e-6
    assert np.array_equal((sdf.values < 0)[off], in_box(points, 38, 38, 18)[off])


def test_overlapping_bodies_are_inside_once() -> None:
    a, b = box_mesh(10, 4, 4), box_mesh(4, 10, 4)
    both = Mesh(np.concatenate([a.vertices, b.vertices]),
                np.concatenate([a.faces, b.faces + len(a.vertices)]))  # fmt: skip
    sdf = mesh_to_sdf(both, resolution=48, threshold_factor=3)
    points = user_points(sdf)
    assert np.array_equal(sdf.values < 0, in_box(points, 10, 4, 4) | in_box(points, 4, 10, 4))


def test_a_hollow_is_outside() -> None:
    shell = m3.Manifold.cube((10, 10, 10), True) - m3.Manifold.cube((4, 4, 4), True)
    sdf = mesh_to_sdf(manifold_to_mesh(shell), resolution=48, threshold_factor=3)
    points = user_points(sdf)
    assert np.array_equal(sdf.values < 0, in_box(points, 10, 10, 10) & ~in_box(points, 4, 4, 4))


def test_an_open_box_is_inside_where_its_lid_would_hold_it() -> None:
    mesh = box_mesh(10, 10, 10)
    top = (mesh.triangles[:, :, 2] > 4.99).all(axis=1)
    sdf = mesh_to_sdf(Mesh(mesh.vertices, mesh.faces[~top]), resolution=40, threshold_factor=4)
    assert not sdf.closed
    points = user_points(sdf)
    deep = points[:, 2] < 3  # away from the gap, where a winding number fades
    assert np.array_equal((sdf.values < 0)[deep], in_box(points, 10, 10, 10)[deep])


def test_a_sheet_has_no_inside() -> None:
    sheet = Mesh(np.array([[0.0, 0, 0], [4, 0, 0], [4, 3, 0], [0, 3, 0]]),
                 np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32))  # fmt: skip
    sdf = mesh_to_sdf(sheet, resolution=32)
    assert not sdf.closed
    assert (sdf.values[np.abs(sdf.values) > 1e-6] > 0).mean() > 0.99


@settings(deadline=None, max_examples=8)
@given(
    st.tuples(*[st.floats(-50, 50)] * 3),
    st.floats(1e-3, 1e3),
)
def test_values_do_not_depend_on_the_users_frame(
    offset: tuple[float, float, float], scale: float
) -> None:
    mesh = plate_with_hole()
    moved = Mesh(mesh.vertices * scale + np.array(offset), mesh.faces)
    here = mesh_to_sdf(mesh, resolution=20, threshold_factor=2.1)
    there = mesh_to_sdf(moved, resolution=20, threshold_factor=2.1)
    assert abs(len(here.values) - len(there.values)) <= 8  # rounding at the band's very end
    if len(here.values) == len(there.values):
        assert np.abs(here.values - there.values).max() < 1e-3


def test_the_longest_side_takes_nineteen_twentieths_of_the_grid() -> None:
    placement = placement_to_grid(np.array([[0, 0, 0], [2.0, 1, 1]]), 64)
    corners = placement.apply([[0, 0.5, 0.5], [2, 0.5, 0.5]])
    assert np.allclose(corners[:, 0] / 63 - 0.5, [-0.475, 0.475])
    assert np.allclose(corners[:, 1:], 31.5)


def test_cost_is_reported_and_memory_follows_the_surface() -> None:
    coarse, fine = SdfCost(), SdfCost()
    mesh = plate_with_hole()
    mesh_to_sdf(mesh, resolution=64, threshold_factor=2, cost=coarse)
    mesh_to_sdf(mesh, resolution=256, threshold_factor=2, cost=fine)
    assert 0 < coarse.seconds and 0 < coarse.working_mb
    assert fine.working_mb < 40 * coarse.working_mb  # a dense grid would take 64 times as much
    assert fine.working_mb < 256**3 * 4 / 1e6


@pytest.mark.parametrize("resolution", [0, 7, 1025])
def test_a_resolution_out_of_range_is_refused(resolution: int) -> None:
    with pytest.raises(InputError, match="resolution must be 8 to 1024"):
        mesh_to_sdf(box_mesh(1, 1, 1), resolution=resolution)


def test_a_band_that_holds_no_sample_is_refused() -> None:
    with pytest.raises(GeometryError, match="no sample of the grid lies within the band"):
        mesh_to_sdf(box_mesh(1, 1, 1), resolution=16, threshold_factor=1e-6)
    with pytest.raises(InputError, match="band factor"):
        mesh_to_sdf(box_mesh(1, 1, 1), resolution=16, threshold_factor=0)


def test_an_inside_out_mesh_is_outside_everywhere() -> None:
    sdf = mesh_to_sdf(flipped(box_mesh(2, 2, 2)), resolution=16)
    assert (sdf.values >= 0).all()


@pytest.mark.parametrize(
    ("values", "index", "message"),
    [
        ([], np.zeros((0, 3)), "empty"),
        ([0.5], [[0, 0, 8]], "outside 0 to 7"),
        ([0.5], [[-1, 0, 0]], "outside 0 to 7"),
        ([1.5], [[0, 0, 0]], r"\[-1, 1\]"),
        ([np.nan], [[0, 0, 0]], r"\[-1, 1\]"),
        ([0.5, 0.5], [[0, 0, 0]], "values"),
    ],
)
def test_samples_that_make_no_sense_are_refused(values: list, index: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SparseSdf(np.array(values, np.float32), np.array(index, np.int32), 8, 1.0)
