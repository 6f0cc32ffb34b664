import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cadwright.geometry.manifolds import mesh_to_manifold
from cadwright.inference.warp import NotWarpable, warp_program
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_manifold, program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.generate import draw_program

HEAD = "import cadquery as cq\nw0=cq.Workplane('YZ',origin=(-10,5,8))\n"
NESTED = HEAD + (
    "r=w0.sketch().rect(80,60).push([(10,-10)]).circle(10,mode='s').push([(-20,4)])"
    ".face(w0.sketch().segment((-10,-10),(12,-10)).segment((12,6)).close().assemble(),mode='s')"
    ".reset().face(w0.sketch().segment((-70,-4),(-30,-4)).segment((-30,9)).close().assemble())"
    ".finalize().extrude(-30)"
    ".union(w0.workplane(offset=41/2).moveTo(-50,0).box(60,50,41))"
    ".union(w0.workplane(offset=-60/2).moveTo(20,12).cylinder(60,14))"
)


def same(coordinate: float) -> float:
    return coordinate


def kinked(coordinate: float) -> float:
    """Twice as steep on the right of 0."""
    return coordinate * (2 if coordinate > 0 else 1) + 7


def volume_apart(one: Program, mesh) -> float:
    """Volume in one and not in both, over that of the first."""
    ours, other = program_to_manifold(one), mesh_to_manifold(mesh)
    return ((ours - other).volume() + (other - ours).volume()) / ours.volume()


@settings(max_examples=60, deadline=None)
@given(index=st.integers(0, 10_000))
def test_maps_that_leave_all_where_it_is_change_no_solid(index):
    program = draw_program(11, index)
    if program is None:
        return
    mesh = program_to_mesh(program).mesh
    if mesh is not None:
        warped = warp_program(program, (same, same, same))
        assert volume_apart(warped, mesh) < 0.02  # a half unit may be rounded


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_doubled_axis_doubles_the_solid_along_it(axis):
    text = NESTED.replace(".circle(10,mode='s')", ".rect(20,20,mode='s')")
    program = text_to_program(text.split(".union(w0.workplane(offset=-60/2)")[0])
    mesh = program_to_mesh(program).mesh
    assert mesh is not None
    maps = tuple((lambda c: 2 * c) if k == axis else same for k in range(3))
    scale = np.ones(3)
    scale[axis] = 2
    warped = warp_program(program, maps)
    assert volume_apart(warped, type(mesh)(mesh.vertices * scale, mesh.faces)) < 0.01


def test_each_side_goes_where_the_map_takes_it():
    program = text_to_program(NESTED)
    before = program_to_mesh(program).mesh
    after = program_to_mesh(warp_program(program, (kinked, kinked, kinked))).mesh
    assert before is not None and after is not None
    wanted = np.vectorize(kinked)(before.bounds)
    assert np.abs(after.bounds - wanted).max() <= 1.0


def test_a_shape_whose_sides_move_apart_is_pushed_to_its_new_centre():
    text = HEAD.replace("(-10,5,8)", "(0,0,0)") + "r=w0.sketch().rect(80,60).finalize().extrude(9)"
    warped = warp_program(text_to_program(text), (same, lambda c: c + max(c, 0), same))
    assert warped == text_to_program(text.replace(".rect(80,60)", ".push([(20,0)]).rect(120,60)"))


def test_nothing_that_has_a_size_vanishes():
    flat = warp_program(text_to_program(NESTED), (lambda c: 0.01 * c,) * 3)
    mesh = program_to_mesh(flat)
    assert min(flat.bodies[1].size) == 1 and flat.bodies[2].radius == 1
    assert flat.bodies[0].height == -1
    assert mesh.outcome.value in ("ok", "invalid")


@pytest.mark.parametrize(
    "body",
    [
        "sketch().push([(30,0)]).rect(10,20).finalize().revolve(360,(0,0,0),(0,1,0))",
        "sketch().rect(50,40).vertices().fillet(5).finalize().extrude(8)",
    ],
)
def test_what_no_map_along_the_axes_keeps_is_refused(body):
    with pytest.raises(NotWarpable):
        warp_program(text_to_program(HEAD + "r=w0." + body), (same, same, same))
