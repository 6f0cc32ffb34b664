"""Bodies that touch in an edge keep their volume, also when they come in a file of the user's."""

from __future__ import annotations

from pathlib import Path

import manifold3d as m3
import numpy as np
import pytest

from cadwright.geometry.manifolds import manifold_to_mesh, mesh_to_manifold
from cadwright.geometry.mesh_io import load_shape, save_stl
from cadwright.geometry.touching import part_touching_edges
from cadwright.geometry.welding import is_closed, weld
from cadwright.types import Mesh

Corner = tuple[float, ...]
TOUCHING = [
    [(0, 0, 0), (1, 1, 0)],
    [(0, 0, 0), (1, 0, 1)],
    [(0, 0, 0), (1, -1, 0), (2, 0, 0)],
    [(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)],
]
APART = [[(0, 0, 0), (1, 1, 1)], [(0, 0, 0), (5, 5, 5)]]


def boxes(*corners: Corner) -> Mesh:
    """Unit cubes in one welded mesh."""
    meshes = [manifold_to_mesh(m3.Manifold.cube((1, 1, 1)).translate(corner)) for corner in corners]
    faces = [mesh.faces + 8 * k for k, mesh in enumerate(meshes)]
    return weld(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces))


def reshuffled(mesh: Mesh, seed: int) -> Mesh:
    order = np.random.default_rng(seed).permutation(len(mesh.faces))
    return Mesh(mesh.vertices, mesh.faces[order])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("corners", TOUCHING + APART)
def test_bodies_that_touch_in_an_edge_keep_their_volume(corners: list[Corner], seed: int) -> None:
    mesh = reshuffled(boxes(*corners), seed)
    assert is_closed(mesh)
    parted = part_touching_edges(mesh)
    assert is_closed(parted)
    np.testing.assert_array_equal(parted.triangles, mesh.triangles)
    solid = mesh_to_manifold(parted)
    assert solid.volume() == pytest.approx(len(corners), rel=1e-9)
    assert len(solid.decompose()) == len(corners)


@pytest.mark.parametrize("corners", TOUCHING)
def test_a_file_with_boxes_that_share_an_edge_is_read_with_all_their_volume(
    tmp_path: Path, corners: list[Corner]
) -> None:
    save_stl(boxes(*corners), tmp_path / "part.stl")
    shape = load_shape(tmp_path / "part.stl")
    assert shape.kind == "solid"
    assert shape.mesh is not None
    assert mesh_to_manifold(shape.mesh).volume() == pytest.approx(len(corners), rel=1e-6)


def test_a_body_that_touches_itself_in_an_edge_stays_one() -> None:
    """A square with a triangular hole that touches its corner, as a prism."""
    outer = np.array([(0, 0), (4, 0), (4, 4), (0, 4)], float)
    hole = np.array([(0, 0), (1, 2), (2, 1)], float)
    prism = m3.Manifold.extrude(m3.CrossSection([outer]) - m3.CrossSection([hole[::-1]]), 1.0)
    surface = manifold_to_mesh(prism)
    welded = weld(surface.vertices, surface.faces)
    parted = part_touching_edges(welded)
    assert len(parted.vertices) == len(welded.vertices) + 2
    assert mesh_to_manifold(parted).volume() == pytest.approx(16 - 1.5, rel=1e-9)


def test_a_plain_body_and_a_doubled_one_are_left_as_they_are() -> None:
    plain = boxes((0, 0, 0))
    assert part_touching_edges(plain) is plain
    ball = manifold_to_mesh(m3.Manifold.sphere(1.0, 256))
    doubled = Mesh(ball.vertices, np.concatenate([ball.faces, ball.faces]))
    assert part_touching_edges(doubled) is doubled
