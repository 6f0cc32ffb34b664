"""Nearest distances: the same as those of all pairs, wherever the two clouds lie."""

from __future__ import annotations

import numpy as np
import pytest

from cadwright.errors import GeometryError
from cadwright.evaluation.nearest import chamfer, share_within, sort_cloud, squared_distances
from cadwright.geometry.metrics import chamfer_distance


def all_pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a[:, None] - b[None]) ** 2).sum(axis=2).min(axis=1)


def cloud(kind: str, num: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = rng.random((num, 3))
    if kind == "plane":
        points[:, 2] = 0.5
    elif kind == "line":
        points[:, 1:] = 0.25
    elif kind == "clusters":
        points = points * 0.01 + rng.integers(0, 2, (num, 3))
    return points


@pytest.mark.parametrize("kind", ["volume", "plane", "line", "clusters"])
@pytest.mark.parametrize("shift", [0.0, 0.05, 0.7, -40.0])
def test_distances_are_those_of_all_pairs(kind: str, shift: float) -> None:
    points, other = cloud("volume", 400, 0) + shift, cloud(kind, 700, 1)
    found = squared_distances(points, sort_cloud(other))
    assert found == pytest.approx(all_pairs(points, other), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_distances_scale_with_the_unit(scale: float) -> None:
    points, other = cloud("volume", 300, 0) * scale, cloud("plane", 300, 1) * scale
    found = squared_distances(points, sort_cloud(other))
    assert found == pytest.approx(all_pairs(points, other), rel=1e-12)


def test_points_of_the_cloud_itself_are_at_no_distance() -> None:
    points = cloud("volume", 3000, 0)
    assert not squared_distances(points, sort_cloud(points)).any()


def test_one_point_and_points_that_coincide_can_be_searched() -> None:
    points = cloud("volume", 50, 0)
    for other in (np.zeros((1, 3)), np.ones((9, 3))):
        found = squared_distances(points, sort_cloud(other))
        assert found == pytest.approx(all_pairs(points, other))


def test_chamfer_is_the_scorers() -> None:
    a, b = cloud("volume", 2000, 0), cloud("plane", 1500, 1)
    found = chamfer(sort_cloud(a), sort_cloud(b))
    assert found == pytest.approx(chamfer_distance(a, b), rel=1e-12)


def test_share_within_counts_both_ways() -> None:
    a, b = np.zeros((3, 3)), np.array([[0.005, 0, 0], [5, 0, 0]])
    assert share_within(sort_cloud(a), sort_cloud(b), 0.01) == pytest.approx(4 / 5)


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.full((4, 3), np.nan)])
def test_no_points_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(GeometryError):
        sort_cloud(bad)
