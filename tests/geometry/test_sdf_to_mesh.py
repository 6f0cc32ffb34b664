"""The way back from a sparse SDF, and the files in between."""

from __future__ import annotations

from pathlib import Path

import manifold3d as m3
import numpy as np
import pytest

from cadwright.errors import GeometryError, InputError
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_to_sdf import SparseSdf, mesh_to_sdf
from cadwright.geometry.metrics import volume_iou
from cadwright.geometry.sdf_io import (
    file_to_sha256,
    load_sdf,
    read_metadata,
    save_sdf,
    sdf_name,
    write_metadata,
)
from cadwright.geometry.sdf_to_mesh import (
    corners_of_crossed_cubes,
    mesh_to_unit_cube,
    sdf_to_dense,
    sdf_to_mesh,
)
from cadwright.geometry.surface_distance import points_to_surface
from cadwright.geometry.welding import is_closed
from cadwright.types import Mesh

pytest.importorskip("numba")
pytest.importorskip("skimage")


def ball(radius: float = 30.0) -> Mesh:
    return manifold_to_mesh(m3.Manifold.sphere(radius, 96).translate((5, -7, 100)))


def bracket() -> Mesh:
    solid = m3.Manifold.cube((90, 40, 12), True)
    solid = solid + m3.Manifold.cube((12, 40, 60), True).translate((-39, 0, 30))
    return manifold_to_mesh(solid - m3.Manifold.cylinder(40, 8, 8, 32, True).translate((20, 0, 0)))


@pytest.mark.parametrize("factor", [1.2, 2.0, 4.0])
def test_a_ball_comes_back_closed_right_side_out_and_in_its_place(factor: float) -> None:
    mesh = ball()
    back = sdf_to_mesh(mesh_to_sdf(mesh, resolution=48, threshold_factor=factor))
    assert is_closed(back)
    assert back.signed_volume == pytest.approx(mesh.signed_volume, rel=4e-3)
    assert points_to_surface(back.vertices, mesh).max() < 0.05  # of a step of 1.34
    assert np.allclose(back.bounds, mesh.bounds, atol=0.1)


def test_the_inverse_has_no_scale_error() -> None:
    """Divided by R instead of R - 1, a face at 0.475 of the cube would lie 0.7 % too far in."""
    mesh = manifold_to_mesh(m3.Manifold.cube((20, 12, 8), True))
    back = sdf_to_mesh(mesh_to_sdf(mesh, resolution=64))
    assert np.abs(back.bounds - mesh.bounds).max() < 20 * 1e-5


def test_a_bracket_comes_back() -> None:
    mesh = bracket()
    back = sdf_to_mesh(mesh_to_sdf(mesh, resolution=96))
    assert is_closed(back)
    assert volume_iou(mesh, back) > 0.99


def test_a_level_moves_the_surface_outwards() -> None:
    sdf = mesh_to_sdf(ball(), resolution=48)
    grown = sdf_to_mesh(sdf, level=0.5)
    away = points_to_surface(grown.vertices, ball()) * sdf.placement.scale
    assert np.abs(away - 0.5 * sdf.band).max() < 0.06


def test_published_meshes_span_the_grid_from_minus_one_to_one() -> None:
    mesh = Mesh(np.array([[0.0, 0, 0], [63, 63, 63], [31.5, 0, 0]]), np.zeros((1, 3), np.int32))
    moved = mesh_to_unit_cube(mesh, 64)
    assert np.allclose(moved.vertices, [[-1, -1, -1], [1, 1, 1], [0, -1, -1]])


def test_dense_signs_are_those_of_the_solid() -> None:
    sdf = mesh_to_sdf(bracket(), resolution=40, threshold_factor=1.2)
    wide = mesh_to_sdf(bracket(), resolution=40, threshold_factor=8)
    dense = sdf_to_dense(sdf)
    assert np.array_equal(dense[tuple(wide.index.T)] < 0, wide.values < 0)
    assert np.abs(dense).max() <= 1


def test_corners_of_crossed_cubes_are_all_that_marching_cubes_reads() -> None:
    sdf = mesh_to_sdf(bracket(), resolution=40, threshold_factor=3)
    corners = corners_of_crossed_cubes(sdf_to_dense(sdf))
    kept = corners[tuple(sdf.index.T)]
    some = SparseSdf(sdf.values[kept], sdf.index[kept], 40, sdf.band, sdf.placement)
    assert kept.sum() == corners.sum() < len(sdf.values)
    one, other = sdf_to_mesh(some), sdf_to_mesh(sdf)
    assert np.array_equal(one.faces, other.faces)
    assert np.allclose(one.vertices, other.vertices, atol=1e-4)  # float32 in another corner


def test_a_field_without_a_surface_is_an_error_in_a_sentence() -> None:
    index = np.argwhere(np.ones((4, 4, 4), bool)).astype(np.int32)
    sdf = SparseSdf(np.full(64, 0.5, np.float32), index, 16, 3.0)
    with pytest.raises(GeometryError, match="no surface at level 0"):
        sdf_to_mesh(sdf)


def test_a_file_brings_everything_back(tmp_path: Path) -> None:
    sdf = mesh_to_sdf(bracket(), resolution=32)
    save_sdf(tmp_path / "a.npz", sdf)
    back = load_sdf(tmp_path / "a.npz")
    assert np.array_equal(back.values, sdf.values) and np.array_equal(back.index, sdf.index)
    assert (back.resolution, back.band, back.closed) == (32, sdf.band, True)
    assert back.placement.scale == sdf.placement.scale
    with np.load(tmp_path / "a.npz", allow_pickle=False) as content:
        assert content["sparse_sdf"].shape == (len(sdf.values), 1)
        assert content["sparse_sdf"].dtype == np.float32
        assert content["sparse_index"].dtype == np.int32
        assert "negative inside" in str(content["convention"])


def test_a_file_of_others_needs_only_the_published_keys(tmp_path: Path) -> None:
    sdf = mesh_to_sdf(bracket(), resolution=32)
    path = tmp_path / "b.npz"
    np.savez(path, sparse_sdf=sdf.values[:, None], sparse_index=sdf.index, resolution=32)
    back = load_sdf(path)
    assert np.array_equal(back.values, sdf.values) and back.band == pytest.approx(4 * 31 / 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparse_sdf": None}, "lacks 'sparse_sdf'"),
        ({"sparse_index": np.array([[0, 0, 99]], np.int32)}, "outside 0 to 15"),
        ({"sparse_sdf": np.array([[-7.0]])}, r"must lie in \[-1, 1\]"),
        ({"convention": np.array("unsigned metres")}, "another convention"),
        ({"sparse_sdf": np.array([[0.3]])}, "not signed"),
        ({"sparse_sdf": np.zeros((0, 1)), "sparse_index": np.zeros((0, 3), int)}, "empty"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence_that_names_it(
    tmp_path: Path, change: dict, message: str
) -> None:
    arrays = {
        "sparse_sdf": np.array([[-0.3]]),
        "sparse_index": np.array([[1, 2, 3]], np.int32),
        "resolution": 16,
    }
    arrays = {key: value for key, value in {**arrays, **change}.items() if value is not None}
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        load_sdf(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.npz").write_bytes(b"PK nonsense")
    with pytest.raises(InputError, match="no readable .npz"):
        load_sdf(tmp_path / "c.npz")


def test_metadata_keeps_what_others_wrote(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text(
        'sha256,captions,aesthetic_score\nabc,"[""a, b""]",5.5\n', encoding="utf-8"
    )
    write_metadata(tmp_path, {"abc": {"r64_num_points": "10"}, "def": {"sdf_computed": "True"}})
    rows = read_metadata(tmp_path)
    assert rows["abc"]["captions"] == '["a, b"]' and rows["abc"]["aesthetic_score"] == "5.5"
    assert rows["abc"]["r64_num_points"] == "10"
    assert rows["def"]["captions"] == "[]" and rows["def"]["sdf_computed"] == "True"


def test_names_are_the_published_ones(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    sha = file_to_sha256(tmp_path / "x")
    assert sha.startswith("ba7816bf") and sdf_name(sha, 512) == f"{sha}_r512.npz"
