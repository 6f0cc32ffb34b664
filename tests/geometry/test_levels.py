import numpy as np
import pytest

from cadwright.geometry.levels import mesh_to_levels, shape_to_levels
from cadwright.geometry.mesh_io import shape_from_mesh, shape_from_points
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

STEPPED = (
    "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-50))\n"
    "r=w0.sketch().rect(200,120).push([(40,0)]).circle(20,mode='s').finalize().extrude(30)"
    ".union(w0.workplane(offset=100/2).moveTo(-60,0).box(40,120,100))"
)


@pytest.fixture(scope="module")
def stepped() -> Mesh:
    mesh = program_to_mesh(text_to_program(STEPPED)).mesh
    assert mesh is not None
    return mesh


def test_levels_and_their_areas_are_those_of_the_flat_faces(stepped):
    levels = mesh_to_levels(stepped)[2]
    assert np.allclose(levels.places, [-50, -20, 50], atol=1e-3)
    hole = np.pi * 20**2
    up, down = levels.areas.T
    assert np.allclose(up, [0, 160 * 120 - hole, 40 * 120], rtol=0.002)
    assert np.allclose(down, [200 * 120 - hole, 0, 0], rtol=0.002)


def test_a_hole_shows_where_it_is_square_to_the_axis(stepped):
    levels = mesh_to_levels(stepped)[0]
    around_hole = [place for place in levels.places if 15 < place < 65]
    assert np.allclose(around_hole, [20, 60], atol=1.0)


def test_a_wall_of_two_units_has_two_levels():
    text = STEPPED.replace("extrude(30)", "extrude(2)").replace("40,120,100", "40,120,2")
    mesh = program_to_mesh(text_to_program(text.replace("offset=100/2", "offset=2/2"))).mesh
    assert mesh is not None
    assert np.allclose(mesh_to_levels(mesh)[2].places, [-50, -48], atol=1e-3)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_cloud_has_the_levels_of_its_surface(stepped, noise):
    rng = np.random.default_rng(0)
    points = sample_surface(stepped, 8192, rng) + rng.normal(size=(8192, 3)) * noise
    levels = shape_to_levels(shape_from_points(points, "cloud"), seed=0)[2]
    strong = levels.places[levels.areas.sum(axis=1) > 2000]
    assert np.allclose(strong, [-50, -20, 50], atol=1.0)
    assert np.allclose(levels.areas[:, 0], levels.areas[:, 1])  # the side is not known


def test_a_slanted_part_has_no_levels():
    angle = np.pi / 4
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    box = program_to_mesh(
        text_to_program(
            "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n"
            "r=w0.workplane(offset=0/2).moveTo(0,0).box(100,100,100)"
        )
    ).mesh
    assert box is not None
    shape = shape_from_mesh(Mesh(box.vertices @ turn.T, box.faces), "turned")
    levels = shape_to_levels(shape, seed=0)
    assert [len(along.places) for along in levels] == [0, 0, 2]
