import numpy as np
import pytest

from cadwright.inference.fit_bounds import fit_bounds
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program

HEAD = "import cadquery as cq\n"
PLATE = HEAD + (
    "w0=cq.Workplane('YZ',origin=(-10,0,0))\n"
    "r=w0.sketch().segment((-100,-40),(60,-40)).arc((70,0),(60,40)).segment((-100,40)).close()"
    ".assemble().push([(-20,0)]).circle(15,mode='s').finalize().extrude(-30)"
    ".union(w0.workplane(offset=40/2).moveTo(-50,0).box(60,50,40))"
)
NESTED = HEAD + (
    "w0=cq.Workplane('ZX',origin=(0,-50,0))\n"
    "r=w0.sketch().rect(180,120).push([(20,10)]).face(w0.sketch().segment((-10,-10),(30,-10))"
    ".segment((30,20)).close().assemble(),mode='s').finalize().extrude(60)"
    ".union(w0.workplane(offset=-50/2).moveTo(0,0).cylinder(50,40))"
)


def bounds(program: Program) -> np.ndarray:
    mesh = program_to_mesh(program).mesh
    assert mesh is not None
    return np.asarray(mesh.bounds)


@pytest.mark.parametrize("text", [PLATE, NESTED])
@pytest.mark.parametrize("scale", [(1.2, 0.8, 1.5), (0.7, 1.3, 0.9), (1.0, 1.0, 1.4)])
@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (5.0, -12.0, 9.0)])
def test_bounds_land_on_the_targets(text, scale, shift):
    program = text_to_program(text)
    before = bounds(program)
    target = before * np.array(scale) + np.array(shift)
    fitted = fit_bounds(program, before, target)
    assert fitted is not None
    assert np.abs(bounds(fitted) - target).max() <= 2.0  # integers at both ends of a length


def test_a_uniform_scale_scales_the_solid():
    program = text_to_program(NESTED)
    before = bounds(program)
    fitted = fit_bounds(program, before, before * 2)
    assert fitted is not None
    old, new = program_to_mesh(program).mesh, program_to_mesh(fitted).mesh
    assert np.isclose(np.ptp(new.vertices, axis=0) / np.ptp(old.vertices, axis=0), 2).all()
    assert fitted == text_to_program(
        NESTED.replace("origin=(0,-50,0)", "origin=(0,-100,0)")
        .replace("rect(180,120)", "rect(360,240)")
        .replace("(20,10)", "(40,20)")
        .replace("(-10,-10),(30,-10)", "(-20,-20),(60,-20)")
        .replace("segment((30,20))", "segment((60,40))")
        .replace("extrude(60)", "extrude(120)")
        .replace("offset=-50/2", "offset=-100/2")
        .replace("cylinder(50,40)", "cylinder(100,80)")
    )


def test_bounds_that_agree_leave_nothing_to_do():
    program = text_to_program(PLATE)
    assert fit_bounds(program, bounds(program), bounds(program) + 0.4) is None


def test_another_part_is_not_stretched():
    program = text_to_program(PLATE)
    before = bounds(program)
    assert fit_bounds(program, before, before * np.array([1, 1, 3.5])) is None


def test_thin_lengths_never_vanish():
    program = text_to_program(
        HEAD + "w0=cq.Workplane('XY',origin=(0,0,0))\n"
        "r=w0.workplane(offset=-1/2).moveTo(0,0).box(200,100,1)"
    )
    before = bounds(program)
    fitted = fit_bounds(program, before, before * np.array([1, 1.1, 0.4]))
    assert fitted is not None and bounds(fitted)[0, 2] == -1
