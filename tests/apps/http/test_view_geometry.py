"""What the 3-D view is made of: packed arrays, drawn triangles, deviations."""

from __future__ import annotations

import numpy as np
import pytest

from cadwright.apps.http.view_geometry.binary_format import pack, unpack
from cadwright.apps.http.view_geometry.mesh_to_buffers import mesh_to_buffers, points_to_buffers
from cadwright.apps.http.view_geometry.shape_distance import ShapeDistance, describe
from cadwright.errors import InputError
from cadwright.geometry.mesh_io import Shape, shape_from_points
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.surface_distance import points_to_surface
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

pytest.importorskip("numba")

BOX = "w0=cq.Workplane('XY',origin=(0,0,0))\nr=w0.workplane(offset=0/2).box(40,20,10)"
TUBE = "w0=cq.Workplane('XY',origin=(0,0,0))\n" + (
    "r=w0.sketch().circle(30).circle(20,mode='s').finalize().extrude(15)"
)
FAR = np.array([1e6, -2e6, 0.0])


def mesh_of(text: str) -> Mesh:
    mesh = program_to_mesh(text_to_program(text)).mesh
    assert mesh is not None
    return mesh


def solid(text: str) -> Shape:
    return Shape("part", mesh_of(text), None, "solid")


def test_unpack_gives_back_what_was_packed() -> None:
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([7, 8], np.uint32),
        "none": np.zeros((0, 3), np.float32),
    }
    data = pack({"what": "täst"}, arrays)
    header, back = unpack(data)
    assert header["what"] == "täst"
    assert (int.from_bytes(data[4:8], "little") + 8) % 4 == 0
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert header["arrays"][name]["offset"] % 4 == 0


def test_other_bytes_are_refused() -> None:
    with pytest.raises(InputError, match="CWG1"):
        unpack(b"solid part")


@pytest.mark.parametrize("closed", [True, False])
def test_drawn_triangles_are_the_surface(closed: bool) -> None:
    mesh = mesh_of(BOX)
    if not closed:
        mesh = Mesh(mesh.vertices, mesh.faces[2:])
    moved = Mesh(mesh.vertices + FAR, mesh.faces)
    arrays = mesh_to_buffers(moved, origin=FAR)
    corners = arrays["positions"].astype(np.float64)[arrays["indices"]]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1).sum() / 2
    whole = 2 * (40 * 20 + 20 * 10 + 40 * 10)
    assert area == pytest.approx(whole, rel=1e-6) if closed else area < whole
    assert points_to_surface(arrays["positions"], mesh).max() < 1e-5
    lengths = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
    assert lengths.max() < 8


def test_normals_are_those_of_the_faces_and_edges_are_the_sharp_ones() -> None:
    arrays = mesh_to_buffers(mesh_of(BOX), origin=np.zeros(3))
    corners, normals = arrays["positions"][arrays["indices"]], arrays["normals"][arrays["indices"]]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    cross /= np.linalg.norm(cross, axis=1, keepdims=True)
    np.testing.assert_allclose(normals, np.repeat(cross[:, None], 3, axis=1), atol=1e-5)
    length = np.linalg.norm(arrays["edges"][:, 0] - arrays["edges"][:, 1], axis=1).sum()
    assert length == pytest.approx(4 * (40 + 20 + 10), rel=1e-6)


def test_a_round_wall_is_smooth() -> None:
    arrays = mesh_to_buffers(mesh_of(TUBE), origin=np.zeros(3))
    positions, normals = arrays["positions"], arrays["normals"]
    outer = (np.hypot(*positions[:, :2].T) > 29) & (np.abs(normals[:, 2]) < 0.1)
    radial = positions[outer, :2] / np.hypot(*positions[outer, :2].T)[:, None]
    assert np.einsum("ij,ij->i", radial, normals[outer, :2]).min() > 0.99
    rims = arrays["edges"][..., 2]
    assert set(np.round(rims.ravel(), 4)) == {0.0, 15.0}


def test_distances_are_exact_and_signed() -> None:
    shape = solid(TUBE)
    assert shape.mesh is not None
    rng = np.random.default_rng(3)
    points = rng.uniform([-35, -35, -5], [35, 35, 20], (800, 3))
    found = ShapeDistance(shape).distances(points)
    np.testing.assert_allclose(np.abs(found), points_to_surface(points, shape.mesh), atol=1e-9)
    radius = np.hypot(points[:, 0], points[:, 1])
    margin = np.minimum(np.minimum(30 - radius, radius - 20), 7.5 - np.abs(points[:, 2] - 7.5))
    clear = np.abs(margin) > 0.2  # of the polygons that stand for circles
    np.testing.assert_array_equal(found[clear] < 0, margin[clear] > 0)


def test_points_on_the_edges_of_a_box_have_the_sign_of_their_side() -> None:
    box = ShapeDistance(solid(BOX))
    out = np.array([[20.5, 10.5, 5.5], [21, 0, 6], [-20.1, -10.1, 0], [0, 0, 5.01]])
    assert (box.distances(out) > 0).all()
    assert (box.distances(out * 0.8) < 0).all()


def test_a_cloud_is_near_its_own_surface() -> None:
    mesh = mesh_of(TUBE)
    cloud = shape_from_points(sample_surface(mesh, 4000, np.random.default_rng(0)), "scan")
    distance = ShapeDistance(cloud)
    surface = sample_surface(mesh, 500, np.random.default_rng(1))
    assert np.median(distance.distances(surface)) < 0.05
    lifted = surface + [0, 0, 30]
    assert np.median(np.abs(distance.distances(lifted) - points_to_surface(lifted, mesh))) < 1.0
    assert not distance.signed and describe(distance.distances(surface), signed=False)["min"] >= 0
    assert points_to_buffers(np.asarray(cloud.points), origin=np.zeros(3))["positions"].shape == (
        4000,
        3,
    )
