"""Counts of faces and bodies, and the classes they make."""

from __future__ import annotations

import manifold3d
import numpy as np
import pytest

from cadwright.evaluation.complexity import FACE_CLASSES, class_names, class_of, mesh_to_complexity
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.types import Mesh

M = manifold3d.Manifold


@pytest.mark.parametrize(
    ("make", "num_faces", "num_bodies"),
    [
        (lambda: M.cube((1, 2, 3)), 6, 1),
        (lambda: M.cylinder(1, 1, 1, 64), 3, 1),
        (lambda: M.cylinder(1, 1, 1, 64) - M.cylinder(1, 0.5, 0.5, 64), 4, 1),
        (lambda: M.sphere(1, 96), 1, 1),
        (lambda: M.cube((1, 1, 1)) + M.cube((1, 1, 1)).translate((5, 0, 0)), 12, 2),
        (lambda: M.cube((3, 3, 3)) - M.cube((1, 1, 1)).translate((1, 1, 1)), 12, 1),
    ],
    ids=["box", "cylinder", "tube", "sphere", "two boxes", "hollow box"],
)
def test_counts_of_known_solids(make, num_faces: int, num_bodies: int) -> None:
    found = mesh_to_complexity(manifold_to_mesh(make()))
    assert (found.num_faces, found.num_bodies) == (num_faces, num_bodies)


def test_counts_do_not_depend_on_size_or_order() -> None:
    mesh = manifold_to_mesh(M.cylinder(1, 1, 1, 64) - M.cylinder(1, 0.5, 0.5, 64))
    mixed = np.random.default_rng(0).permutation(mesh.faces)
    assert mesh_to_complexity(Mesh(mesh.vertices * 1e-3, mixed)) == mesh_to_complexity(mesh)


def test_an_open_sheet_is_one_body() -> None:
    sheet = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]], np.int32))
    assert mesh_to_complexity(sheet).num_bodies == 1


def test_every_count_has_a_class() -> None:
    names = class_names(FACE_CLASSES)
    assert names == ["1-7", "8-15", "16-31", "32+"]
    assert [class_of(n, FACE_CLASSES) for n in (1, 7, 8, 15, 16, 31, 32, 999)] == [
        name for name in names for _ in range(2)
    ]
