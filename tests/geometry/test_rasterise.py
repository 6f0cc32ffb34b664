"""The z-buffer: no gaps, no doubles, the nearest wins, hidden and impossible faces."""

from __future__ import annotations

import numpy as np
import pytest

from cadwright.errors import GeometryError
from cadwright.geometry.rasterise import Camera, camera_towards, mesh_to_visible
from cadwright.types import Mesh

pytest.importorskip("numba")

FROM_TOP = Camera((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), scale=1.0, perspective=False)


def fan(num: int, seed: int) -> Mesh:
    """A disc of triangles around a random middle, seen from above."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, num))
    rim = np.stack([0.9 * np.cos(angle), 0.9 * np.sin(angle), rng.uniform(-0.3, 0.3, num)], axis=1)
    vertices = np.vstack([[0.05, -0.03, 0.1], rim])
    faces = [[0, 1 + k, 1 + (k + 1) % num] for k in range(num)]
    return Mesh(vertices, np.array(faces, dtype=np.int32))


@pytest.mark.parametrize("seed", range(5))
def test_neighbouring_faces_share_no_pixel_and_leave_none_out(seed: int) -> None:
    mesh = fan(40, seed)
    counts = np.zeros((97, 97), dtype=int)
    for face in mesh.faces:
        counts += mesh_to_visible(Mesh(mesh.vertices, face[None]), FROM_TOP, size=97).face >= 0
    assert counts.max() == 1
    y, x = np.mgrid[0:97, 0:97]
    inside = np.hypot((x + 0.5) / 48.5 - 1, (y + 0.5) / 48.5 - 1) < 0.5
    assert counts[inside].min() == 1


def test_a_square_covers_exactly_its_pixels() -> None:
    corners = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    square = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32))
    covered = mesh_to_visible(square, FROM_TOP, size=64).face >= 0
    assert covered[16:48, 16:48].all()
    assert covered.sum() == 32 * 32


@pytest.mark.parametrize("perspective", [True, False])
def test_nearness_is_that_of_the_plane(perspective: bool) -> None:
    camera = camera_towards(
        (0, 0, 0), (0, 0, 1), (0, 1, 0), distance=3.0, scale=0.5, perspective=perspective
    )
    corners = np.array([[-1.0, -1.0, 0.3], [1.0, -1.0, -0.2], [0.0, 1.2, 0.5]])
    visible = mesh_to_visible(Mesh(corners, np.array([[0, 1, 2]], np.int32)), camera, size=80)
    rows, columns = np.nonzero(visible.face == 0)
    assert len(rows) > 100
    u, v = (columns + 0.5) / 80 - 0.5, 0.5 - (rows + 0.5) / 80
    near = visible.nearness[rows, columns]
    points = (
        np.stack([u / near, v / near, 3.0 - 1.0 / near], axis=1)
        if perspective
        else np.stack([u, v, near + 3.0], axis=1)
    )
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    assert np.abs((points - corners[0]) @ normal).max() < 1e-9


def test_the_nearer_face_is_seen_whatever_the_order() -> None:
    low = np.array([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.0, 0.5, 0.0]])
    vertices = np.vstack([low, low + [0, 0, 0.2]])
    for faces, nearer in (([[0, 1, 2], [3, 4, 5]], 1), ([[3, 4, 5], [0, 1, 2]], 0)):
        visible = mesh_to_visible(Mesh(vertices, np.array(faces, np.int32)), FROM_TOP, size=32)
        assert set(np.unique(visible.face)) == {-1, nearer}


def test_faces_turned_away_or_without_area_are_not_seen() -> None:
    vertices = np.array([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.0, 0.5, 0.0], [0.5, -0.5, 0.0]])
    mesh = Mesh(vertices, np.array([[0, 2, 1], [0, 1, 3], [1, 1, 2]], np.int32))
    assert (mesh_to_visible(mesh, FROM_TOP, size=32).face == -1).all()


def test_faces_outside_the_picture_are_cut_off() -> None:
    vertices = np.array([[-50.0, -50.0, 0.0], [50.0, -50.0, 0.0], [0.0, 50.0, 0.0]])
    visible = mesh_to_visible(Mesh(vertices, np.array([[0, 1, 2]], np.int32)), FROM_TOP, size=32)
    assert (visible.face == 0).all()


def test_a_mesh_behind_the_camera_is_refused() -> None:
    camera = camera_towards((0, 0, 0), (0, 0, 1), (0, 1, 0), distance=1.0, scale=0.5)
    vertices = np.array([[-0.5, -0.5, 2.0], [0.5, -0.5, 0.0], [0.0, 0.5, 0.0]])
    with pytest.raises(GeometryError, match="behind the camera"):
        mesh_to_visible(Mesh(vertices, np.array([[0, 1, 2]], np.int32)), camera, size=32)


def test_camera_axes_are_orthonormal_and_right_handed() -> None:
    camera = camera_towards((1, 2, 3), (1, -2, 0.5), (0, 0, 1), distance=2.0, scale=1.0)
    axes = np.array([camera.right, camera.up, camera.back])
    assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-15)
    assert np.isclose(np.linalg.det(axes), 1.0)
    assert np.allclose(camera.eye, np.array([1, 2, 3]) + 2.0 * axes[2])
