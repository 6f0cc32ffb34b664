"""Welding: equal vertices become one, nothing else changes; what counts as closed."""

from __future__ import annotations

import manifold3d
import numpy as np
import pytest

from cadwright.errors import GeometryError
from cadwright.geometry import welding
from cadwright.geometry.manifolds import manifold_to_mesh, mesh_to_manifold
from cadwright.geometry.welding import (
    check_mesh,
    enclosed_volume,
    face_areas,
    flipped,
    is_closed,
    weld,
)
from cadwright.types import Mesh

CUBE = manifold_to_mesh(manifold3d.Manifold.cube((1.0, 1.0, 1.0)))
BALL = manifold_to_mesh(manifold3d.Manifold.sphere(1.0, 48))


def two_cubes(shift: tuple[float, float, float]) -> Mesh:
    vertices = np.concatenate([CUBE.vertices, CUBE.vertices + shift])
    return weld(vertices, np.concatenate([CUBE.faces, CUBE.faces + 8]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mesh", [CUBE, BALL])
def test_loose_triangles_become_the_indexed_mesh_again(mesh: Mesh, dtype) -> None:
    welded = weld(mesh.triangles.reshape(-1, 3).astype(dtype))
    assert len(welded.vertices) == len(mesh.vertices)
    assert np.array_equal(welded.triangles, mesh.triangles.astype(dtype))
    assert welded.vertices.dtype == np.float64 and welded.faces.dtype == np.int32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_colliding_keys_change_nothing(monkeypatch: pytest.MonkeyPatch, dtype) -> None:
    corners = BALL.triangles.reshape(-1, 3).astype(dtype)
    expected = weld(corners)
    monkeypatch.setattr(welding, "_row_keys", lambda bits: np.zeros(len(bits), dtype=np.uint64))
    assert np.array_equal(weld(corners).vertices, expected.vertices)
    assert np.array_equal(weld(corners).faces, expected.faces)


def test_random_rows_are_joined_as_numpy_joins_them() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(-2, 3, (3000, 3)).astype(np.float32)  # 125 distinct, -0.0 among them
    corners[rng.random(corners.shape) < 0.1] *= -1
    assert len(weld(corners).vertices) == len(np.unique(corners, axis=0))


def test_vertices_keep_their_order_and_unused_ones_go() -> None:
    vertices = np.array([[9, 9, 9], [2, 0, 0], [0, 1, 0], [2, 0, 0], [0, 0, 1.0]])
    mesh = weld(vertices, np.array([[4, 2, 3]]))
    assert mesh.vertices.tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert mesh.faces.tolist() == [[2, 1, 0]]


def test_faces_that_lose_a_corner_go_but_thin_faces_stay() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 0.0]])
    mesh = weld(vertices, np.array([[0, 4, 1], [0, 1, 2], [0, 1, 3]]))
    assert len(mesh.faces) == 2  # the second has no area, but three different corners


def test_minus_zero_is_zero() -> None:
    assert len(weld(np.array([[0.0, 1, 2], [-0.0, 1, 2], [3, 4, 5], [6, 7, 9]])[[0, 2, 3]]).faces)
    corners = np.array([[0.0, 1, 2], [3, 4, 5], [6, 7, 9], [-0.0, 1, 2], [6, 7, 9], [3, 4, 5]])
    assert len(weld(corners).vertices) == 3


def test_closed_means_every_edge_both_ways() -> None:
    assert is_closed(CUBE) and is_closed(BALL)
    assert not is_closed(Mesh(CUBE.vertices, CUBE.faces[1:]))
    turned = CUBE.faces.copy()
    turned[0] = turned[0, ::-1]
    assert not is_closed(Mesh(CUBE.vertices, turned))
    assert is_closed(flipped(CUBE))
    assert not is_closed(Mesh(CUBE.vertices, CUBE.faces[:0]))


@pytest.mark.parametrize("shift", [(1, 1, 0), (1, 1, 1), (1, 0, 0), (3, 0, 0)])
def test_blocks_that_touch_are_closed_and_the_kernel_takes_them(shift) -> None:
    mesh = two_cubes(shift)
    assert is_closed(mesh)
    assert mesh_to_manifold(mesh).volume() == pytest.approx(2)


def test_area_and_volume_of_a_box(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(welding, "CHUNK", 5)  # so that 12 faces are three chunks
    box = Mesh(CUBE.vertices * (2, 3, 4), CUBE.faces)
    assert face_areas(box).sum() == pytest.approx(52)
    assert enclosed_volume(box) == pytest.approx(24)
    assert enclosed_volume(flipped(box)) == pytest.approx(-24)


def test_volume_far_from_the_origin_keeps_its_digits() -> None:
    far = Mesh(CUBE.vertices + 2.0**30, CUBE.faces)
    assert enclosed_volume(far) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("bad", [-1, 8])
def test_an_index_without_a_vertex_is_refused(bad: int) -> None:
    with pytest.raises(GeometryError, match="outside the 8"):
        check_mesh(CUBE.vertices, np.array([[0, 1, bad]]))


@pytest.mark.parametrize(("columns", "corners"), [(2, 3), (3, 4)])
def test_arrays_of_another_shape_are_refused(columns: int, corners: int) -> None:
    with pytest.raises(GeometryError, match="shape"):
        check_mesh(np.zeros((8, columns)), np.zeros((1, corners), dtype=np.int32))
