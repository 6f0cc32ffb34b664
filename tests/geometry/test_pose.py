"""Poses: a part's own axes are found, straight parts are left alone, placements turn back."""

from __future__ import annotations

import numpy as np
import pytest

from cadwright.errors import GeometryError
from cadwright.geometry.frames import Placement
from cadwright.geometry.pose import find_axes
from cadwright.types import FloatArray


def rotation(seed: int) -> FloatArray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return np.asarray(q * np.sign(np.linalg.det(q)))


def box_normals(noise: float = 0.0) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(1)
    axis = rng.integers(3, size=900)
    normals = np.eye(3)[axis] * rng.choice([-1.0, 1.0], size=(900, 1))
    normals = normals + noise * rng.standard_normal(normals.shape)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True), rng.uniform(0.5, 1.5, 900)


@pytest.mark.parametrize("seed", range(6))
def test_a_turned_box_is_turned_back(seed: int) -> None:
    normals, areas = box_normals(noise=0.01)
    found = find_axes(normals @ rotation(seed).T, areas)
    assert found is not None
    whole = found @ rotation(seed)
    np.testing.assert_allclose(np.abs(whole).max(axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(found) == pytest.approx(1)


def test_a_straight_box_is_left_alone() -> None:
    normals, areas = box_normals()
    assert find_axes(normals, areas) is None


def test_a_slightly_tilted_box_is_straightened() -> None:
    normals, areas = box_normals()
    angle = np.deg2rad(2)
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    found = find_axes(normals @ tilt.T, areas)
    assert found is not None
    np.testing.assert_allclose(found @ tilt, np.eye(3), atol=1e-6)


def test_a_ball_has_no_axes() -> None:
    rng = np.random.default_rng(0)
    normals = rng.standard_normal((2000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert find_axes(normals, np.ones(2000)) is None


def test_placements_with_a_rotation_go_back_and_compose() -> None:
    points = np.random.default_rng(2).standard_normal((50, 3))
    first = Placement(2.0, np.array([1.0, 2.0, 3.0]), rotation(1))
    second = Placement(0.5, np.array([-4.0, 0.0, 1.0]), rotation(2))
    plain = Placement(3.0, np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(first.inverse().apply(first.apply(points)), points, atol=1e-12)
    for outer, inner in ((first, second), (plain, first), (first, plain)):
        np.testing.assert_allclose(
            outer.compose(inner).apply(points), outer.apply(inner.apply(points)), atol=1e-12
        )


@pytest.mark.parametrize("matrix", [np.eye(3) * 2, np.diag([1.0, 1.0, -1.0]), np.zeros((2, 2))])
def test_a_mirror_or_stretch_is_no_rotation(matrix: FloatArray) -> None:
    with pytest.raises(GeometryError):
        Placement(1.0, np.zeros(3), matrix)
