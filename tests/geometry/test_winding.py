"""Generalised winding numbers against the plain sum of solid angles."""

from __future__ import annotations

import manifold3d as m3
import numpy as np
import pytest

from cadwright.errors import GeometryError
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.winding import winding_numbers
from cadwright.types import Mesh

pytest.importorskip("numba")


def exact(points: np.ndarray, mesh: Mesh) -> np.ndarray:
    a, b, c = np.moveaxis(mesh.triangles[None] - points[:, None, None], 2, 0)
    la, lb, lc = (np.linalg.norm(x, axis=-1) for x in (a, b, c))
    volume = (a * np.cross(b, c)).sum(-1)
    under = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return (2 * np.arctan2(volume, under)).sum(1) / (4 * np.pi)


def test_closed_and_open_surfaces_agree_with_the_exact_sum() -> None:
    mesh = manifold_to_mesh(m3.Manifold.sphere(1, 48))
    points = np.random.default_rng(0).uniform(-1.5, 1.5, (300, 3))
    for part in (mesh, Mesh(mesh.vertices, mesh.faces[: len(mesh.faces) * 2 // 3])):
        assert np.abs(winding_numbers(points, part) - exact(points, part)).max() < 0.03


def test_a_closed_surface_gives_zero_and_one() -> None:
    mesh = manifold_to_mesh(m3.Manifold.cube((2, 2, 2), True))
    found = winding_numbers(np.array([[0.0, 0, 0], [0.9, -0.9, 0.9], [3, 0, 0]]), mesh)
    assert np.allclose(found, [1, 1, 0], atol=1e-9)


def test_no_faces_is_an_error() -> None:
    with pytest.raises(GeometryError):
        winding_numbers(np.zeros((1, 3)), Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32)))
