"""points_to_surface: exact against formulas and against measuring every face."""

from __future__ import annotations

from pathlib import Path

import manifold3d
import numpy as np
import pytest

from cadwright.errors import GeometryError
from cadwright.geometry import surface_distance
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.surface_distance import points_to_surface, points_to_triangles
from cadwright.types import Mesh

SHAPES = Path(__file__).parents[1] / "golden" / "shapes"
BOX = manifold_to_mesh(manifold3d.Manifold.cube((2.0, 2.0, 2.0), True))
TRIANGLE = np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0]])


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((1, 1, 5), 5),  # above the face
        ((1, 1, -5), 5),
        ((-3, -4, 0), 5),  # off a corner
        ((2, -3, 4), 5),  # off a leg
        ((4, 4, 0), 16 / 5),  # off the long edge 3x + 4y = 12
        ((7, -4, 0), 5),
        ((1, 1, 0), 0),
        ((2, 0, 0), 0),
    ],
)
@pytest.mark.parametrize("turn", range(3))
def test_distance_to_one_triangle(point, expected: float, turn: int) -> None:
    triangle = np.roll(TRIANGLE, turn, axis=0)
    for corners in (triangle, triangle[::-1]):
        assert points_to_triangles(np.array(point, float), corners) == pytest.approx(expected)


def test_a_triangle_without_area_is_a_segment_or_a_point() -> None:
    segment = np.array([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
    assert points_to_triangles(np.array([2.0, 2, 0]), segment) == pytest.approx(2)
    assert points_to_triangles(np.array([3.0, 4, 0]), np.zeros((3, 3))) == pytest.approx(5)


def test_distance_to_a_box_is_the_formula() -> None:
    points = np.random.default_rng(0).uniform(-3, 3, (3000, 3))
    over = np.abs(points) - 1
    outside = np.linalg.norm(np.maximum(over, 0), axis=1)
    expected = np.where(outside > 0, outside, -over.max(axis=1))
    assert np.allclose(points_to_surface(points, BOX), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["06", "11"])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.3])
def test_the_search_finds_what_measuring_every_face_finds(name: str, noise: float) -> None:
    mesh = load_shape(SHAPES / f"{name}.stl").mesh
    rng = np.random.default_rng(0)
    points = sample_surface(mesh, 100, rng) + noise * rng.normal(size=(100, 3))
    expected = points_to_triangles(points[:, None], mesh.triangles).min(axis=1)
    assert np.allclose(points_to_surface(points, mesh), expected, rtol=0, atol=1e-14)


def test_where_the_search_must_stop_the_error_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    ball = manifold_to_mesh(manifold3d.Manifold.sphere(1.0, 96))
    points = np.random.default_rng(0).normal(scale=0.01, size=(50, 3))  # all faces equally near
    exact = points_to_surface(points, ball)
    monkeypatch.setattr(surface_distance, "MAX_ALL", 0)
    bounded = points_to_surface(points, ball)
    assert (bounded >= exact - 1e-12).all() and (bounded <= exact + 0.05 * 2).all()


def test_unusable_input_is_refused() -> None:
    with pytest.raises(GeometryError):
        points_to_surface(np.zeros((3, 3)), Mesh(BOX.vertices, BOX.faces[:0]))
    with pytest.raises(GeometryError):
        points_to_surface(np.full((3, 3), np.nan), BOX)
    with pytest.raises(GeometryError):
        points_to_surface(np.zeros((3, 3)), Mesh(np.zeros((8, 3)), BOX.faces))
