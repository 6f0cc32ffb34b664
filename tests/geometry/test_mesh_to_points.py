"""Points of a surface: on it, even over it, spread out, and the same for the same seed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import manifold3d
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import chisquare

from cadwright.errors import GeometryError
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.mesh_to_points import (
    farthest_points,
    mesh_to_points,
    points_to_points,
    sample_surface,
    sample_surface_faces,
)
from cadwright.geometry.surface_distance import points_to_surface
from cadwright.geometry.welding import face_areas
from cadwright.types import Mesh

SHAPES = Path(__file__).parents[1] / "golden" / "shapes"
BOX = manifold_to_mesh(manifold3d.Manifold.cube((4.0, 2.0, 1.0), True))
FACE = Mesh(np.array([[0.0, 0, 0], [3, 0, 0], [0, 2, 0]]), np.array([[0, 1, 2]], dtype=np.int32))


@pytest.mark.parametrize("name", ["03", "05", "11"])
def test_samples_lie_on_the_surface(name: str) -> None:
    mesh = load_shape(SHAPES / f"{name}.stl").mesh
    points = sample_surface(mesh, 2000, np.random.default_rng(0))
    assert points.shape == (2000, 3) and points.dtype == np.float64
    assert points_to_surface(points, mesh).max() < 1e-12


def test_faces_are_hit_in_proportion_to_their_area() -> None:
    mesh = load_shape(SHAPES / "04.stl").mesh
    _, face = sample_surface_faces(mesh, 50_000, np.random.default_rng(0))
    areas = face_areas(mesh)
    hits = np.bincount(face, minlength=len(areas))
    expected = areas / areas.sum() * len(face)
    assert chisquare(hits, expected).pvalue > 1e-3


def test_a_face_is_covered_evenly() -> None:
    points = sample_surface(FACE, 90_000, np.random.default_rng(0))
    # In the coordinates of its own corners: 9 small triangles of equal area.
    u, v = points[:, 0] / 3 * 3, points[:, 1] / 2 * 3
    upper = (u % 1 + v % 1 > 1).astype(int)
    cells = np.unique(np.stack([np.floor(u), np.floor(v), upper], 1), axis=0, return_counts=True)
    assert len(cells[1]) == 9 and chisquare(cells[1]).pvalue > 1e-3
    assert (points[:, 2] == 0).all()


def test_faces_without_area_get_no_samples() -> None:
    thin = np.array([[0, 1, 1], [0, 0, 2]], dtype=np.int32)
    mesh = Mesh(FACE.vertices, np.concatenate([thin, FACE.faces, thin]))
    assert set(sample_surface_faces(mesh, 1000, np.random.default_rng(0))[1]) == {2}


def test_the_same_generator_state_gives_the_same_samples_and_moves_on() -> None:
    rng = np.random.default_rng(3)
    first, second = sample_surface(BOX, 100, rng), sample_surface(BOX, 100, rng)
    assert np.array_equal(first, sample_surface(BOX, 100, np.random.default_rng(3)))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("vertices", [np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_a_surface_without_area_is_refused(vertices) -> None:
    with pytest.raises(GeometryError, match="area"):
        sample_surface(Mesh(vertices, FACE.faces), 10, np.random.default_rng(0))
    with pytest.raises(GeometryError, match="area"):
        sample_surface(Mesh(FACE.vertices, FACE.faces[:0]), 10, np.random.default_rng(0))


@pytest.mark.parametrize(("num_from", "num"), [(300, 50), (8192, 128), (8192, 256)])
def test_each_point_kept_is_the_farthest_from_those_before(num_from: int, num: int) -> None:
    points = sample_surface(BOX, num_from, np.random.default_rng(1))
    kept = farthest_points(points, num, seed=5)
    distance = np.full(len(points), np.inf)
    for before, point in zip(kept[:-1], kept[1:], strict=True):
        distance = np.minimum(distance, np.linalg.norm(points - before, axis=1))
        own = distance[(points == point).all(axis=1)]
        assert own.max() >= distance.max() * (1 - 1e-5)  # it compares in float32


@pytest.mark.parametrize("num", [1, 2, 3, 15, 16])
def test_any_number_up_to_all_can_be_kept(num: int) -> None:
    points = np.random.default_rng(0).normal(size=(16, 3))
    kept = farthest_points(points, num, seed=0)
    assert len(np.unique(kept, axis=0)) == num
    assert all((points == row).all(axis=1).any() for row in kept)
    assert np.array_equal(farthest_points(points[:1], 1, seed=0), points[:1])


def test_points_that_coincide_do_not_disturb() -> None:
    assert farthest_points(np.ones((100, 3)), 20, seed=0).tolist() == [[1, 1, 1]] * 20


@pytest.mark.parametrize("num", [0, 17])
def test_more_points_than_there_are_cannot_be_kept(num: int) -> None:
    with pytest.raises(GeometryError, match="of 16 points"):
        farthest_points(np.zeros((16, 3)), num, seed=0)


def test_far_from_the_origin_points_spread_as_well() -> None:
    near = mesh_to_points(BOX, num_points=128, seed=0)
    far = sample_surface(BOX, 8192, np.random.default_rng(0)) + 2.0**24
    kept = farthest_points(far, 128, seed=0) - 2.0**24
    assert np.allclose(kept, near, atol=1e-6)


@pytest.mark.parametrize("num_points", [128, 256])
def test_mesh_to_points_spreads_over_the_surface(num_points: int) -> None:
    points = mesh_to_points(BOX, num_points=num_points, seed=0)
    assert points.shape == (num_points, 3) and points.dtype == np.float32
    assert points_to_surface(points, BOX).max() < 1e-6
    gaps = cKDTree(points).query(points, k=2)[0][:, 1]
    assert gaps.min() > 0.7 * np.sqrt(28 / num_points)  # 28 is the box's area
    everywhere = sample_surface(BOX, 5000, np.random.default_rng(9))
    assert cKDTree(points).query(everywhere)[0].max() < 1.2 * np.sqrt(28 / num_points)


def test_a_seed_fixes_every_byte_and_another_seed_changes_them() -> None:
    points = mesh_to_points(BOX, num_points=64, seed=7)
    assert points.tobytes() == mesh_to_points(BOX, num_points=64, seed=7).tobytes()
    assert points.tobytes() != mesh_to_points(BOX, num_points=64, seed=8).tobytes()


def test_a_seed_fixes_every_byte_in_another_process_too() -> None:
    code = (
        "import sys, numpy as np; from cadwright.types import Mesh; "
        "from cadwright.geometry.mesh_to_points import mesh_to_points; "
        "mesh = Mesh(np.array([[0., 0, 0], [3, 0, 0], [0, 2, 0]]), np.array([[0, 1, 2]])); "
        "sys.stdout.buffer.write(mesh_to_points(mesh, num_points=64, seed=7).tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == mesh_to_points(FACE, num_points=64, seed=7).tobytes()


def test_the_number_of_surface_samples_follows_the_number_of_points() -> None:
    points = mesh_to_points(BOX, num_points=300, num_surface=100, seed=0)
    assert len(np.unique(points, axis=0)) == 300


def test_a_large_cloud_gives_rows_of_its_own_spread_out() -> None:
    cloud = sample_surface(BOX, 30_000, np.random.default_rng(0)).astype(np.float32)
    points = points_to_points(cloud, num_points=256, seed=0)
    assert points.shape == (256, 3) and points.dtype == np.float32
    assert len(np.unique(points, axis=0)) == 256
    assert cKDTree(cloud).query(points)[0].max() == 0
    assert cKDTree(points).query(cloud)[0].max() < 1.2 * np.sqrt(28 / 256)
    assert points.tobytes() == points_to_points(cloud, num_points=256, seed=0).tobytes()
    assert points.tobytes() != points_to_points(cloud, num_points=256, seed=1).tobytes()


@pytest.mark.parametrize(("size", "num_points"), [(20, 256), (128, 256), (255, 256), (1, 5)])
def test_a_small_cloud_is_repeated_evenly(size: int, num_points: int) -> None:
    cloud = np.random.default_rng(0).normal(size=(size, 3))
    points = points_to_points(cloud, num_points=num_points, seed=0)
    times = np.unique(points, axis=0, return_counts=True)[1]
    assert len(points) == num_points and len(times) == size
    assert times.max() - times.min() <= 1
    assert points.tobytes() == points_to_points(cloud, num_points=num_points, seed=0).tobytes()


@pytest.mark.parametrize("shape", [(0, 3), (5, 2), (5,)])
def test_what_is_no_cloud_is_refused(shape) -> None:
    with pytest.raises(GeometryError, match="shape"):
        points_to_points(np.zeros(shape), num_points=8, seed=0)
