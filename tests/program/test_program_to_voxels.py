"""The cells that search compares are those of the solid that the kernel builds."""

import numpy as np
import pytest

from cadwright.geometry.voxels import Grid, count, iou, manifold_to_voxels
from cadwright.program.program_to_mesh import InvalidShape
from cadwright.program.program_to_voxels import program_to_voxels
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.generate import draw_solid

HEAD = "import cadquery as cq\nw0=cq.Workplane('ZX',origin=(0,-20,0))\nr="


@pytest.mark.parametrize("n", [64, 100, 208])
def test_cells_agree_with_the_solid(n: int) -> None:
    grid = Grid(n)
    for index in range(12):
        drawn = draw_solid(8, index)
        assert drawn is not None
        program, solid = drawn
        assert iou(program_to_voxels(program, grid), manifold_to_voxels(solid, grid)) > 0.99


def test_a_box_on_the_integers_is_counted_exactly() -> None:
    program = text_to_program(HEAD + "w0.workplane(offset=30/2).moveTo(5,-7).box(40,20,30)")
    assert count(program_to_voxels(program, Grid(208))) == 40 * 20 * 30


def test_what_lies_beyond_the_frame_costs() -> None:
    inside = text_to_program(HEAD + "w0.workplane(offset=30/2).box(200,20,30)")
    beyond = text_to_program(HEAD + "w0.workplane(offset=30/2).box(260,20,30)")
    assert count(program_to_voxels(beyond, Grid(64))) > count(program_to_voxels(inside, Grid(64)))


def test_packing_and_unpacking_are_inverse() -> None:
    grid = Grid(70)
    mask = np.random.default_rng(0).random((70, 70, 70)) < 0.5
    assert (grid.unpack(grid.pack(mask)) == mask).all()
    assert count(grid.pack(mask)) == mask.sum()


def test_an_open_loop_has_no_meaning() -> None:
    text = HEAD + "w0.sketch().segment((0,0),(9,0)).segment((9,9)).assemble().finalize().extrude(4)"
    with pytest.raises(InvalidShape):
        program_to_voxels(text_to_program(text), Grid(64))
