"""Meshes and manifold3d: what is taken, what is refused, and parts that overlap."""

from __future__ import annotations

import manifold3d
import numpy as np
import pytest

from cadwright.errors import GeometryError
from cadwright.geometry.manifolds import manifold_to_mesh, mesh_to_manifold, unite_parts
from cadwright.geometry.welding import flipped
from cadwright.types import Mesh

CUBE = manifold_to_mesh(manifold3d.Manifold.cube((1.0, 1.0, 1.0), True))


def together(*meshes: Mesh) -> Mesh:
    """One mesh of several, nothing united."""
    shifts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    faces = [mesh.faces + shift for mesh, shift in zip(meshes, shifts, strict=True)]
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    return Mesh(vertices, np.concatenate(faces).astype(np.int32))


def cube(side: float, at: float = 0.0) -> Mesh:
    return Mesh(CUBE.vertices * side + (at, 0, 0), CUBE.faces)


def test_there_and_back_is_the_same_solid() -> None:
    back = manifold_to_mesh(mesh_to_manifold(CUBE))
    assert back.vertices.dtype == np.float64 and back.faces.dtype == np.int32
    assert np.array_equal(back.bounds, CUBE.bounds)
    assert back.signed_volume == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    "mesh",
    [
        Mesh(CUBE.vertices, CUBE.faces[1:]),
        Mesh(CUBE.vertices, CUBE.faces[:0]),
        Mesh(CUBE.vertices * np.nan, CUBE.faces),
        Mesh(CUBE.vertices, CUBE.faces + 5),
        Mesh(CUBE.vertices * (1, 1, 0), CUBE.faces),
        flipped(CUBE),
    ],
    ids=["open", "no faces", "nan", "bad index", "flat", "inside out"],
)
def test_what_is_no_solid_is_refused(mesh: Mesh) -> None:
    with pytest.raises(GeometryError):
        mesh_to_manifold(mesh)


@pytest.mark.parametrize(
    ("mesh", "volume"),
    [
        (together(cube(1)), 1),
        (together(cube(1), cube(1, 5)), 2),
        (together(cube(1), cube(1, 0.5)), 1.5),
        (together(cube(1), cube(1)), 1),
        (together(cube(3), cube(1)), 27),
        (together(cube(3), flipped(cube(1))), 26),
        (together(flipped(cube(1)), cube(3), flipped(cube(2)), cube(1.5)), 27 - 8 + 1.5**3 - 1),
        (together(cube(3), flipped(cube(1)), cube(3, 1)), 36),
        (together(cube(3), flipped(cube(1)), cube(3, 10), flipped(cube(2, 10))), 26 + 19),
    ],
    ids=[
        "one",
        "apart",
        "overlapping",
        "twice the same",
        "one in the other",
        "hollow",
        "hollow in a body in a hollow",
        "hollow filled by the other",
        "two hollow ones",
    ],
)
def test_united_parts_count_nothing_twice(mesh: Mesh, volume: float) -> None:
    solid = unite_parts(mesh_to_manifold(mesh))
    assert solid.volume() == pytest.approx(volume, abs=1e-9)
    assert (solid ^ solid).volume() == pytest.approx(volume, abs=1e-9)


def test_a_part_that_is_inside_out_alone_is_refused() -> None:
    with pytest.raises(GeometryError, match="inside out"):
        unite_parts(mesh_to_manifold(together(cube(2), flipped(cube(1, 9)))))
