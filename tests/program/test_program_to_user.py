from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from cadwright.geometry.frames import Placement, normalise
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_text import program_to_text
from cadwright.program.program_to_user import (
    UserProgram,
    program_to_user,
    text_to_user_program,
    user_program_to_text,
)
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.generate import draw_program
from cadwright.types import Mesh

PLACEMENTS = {
    "plain": Placement(0.8, np.array([35.0, -20.0, 48.0])),
    "float32 noise": Placement(float(np.float32(0.3)), np.array([1e-7, 0.1, 1e3])),
    "odd": Placement(0.436568517, np.array([12.3456789, -0.000123, 777.77])),
    "small": Placement(0.0137, np.array([0.1, 0.2, -0.3])),
    "metres": Placement(0.000512345, np.array([0.25, 1.75, -3.0])),
    "tiny and off": Placement(3.1e-7, np.array([0.01, 0.0, 0.0])),
    "large": Placement(41.7, np.array([-3000.0, 0.0, 120000.0])),
    "on the map": Placement(0.5, np.array([4_560_000.5, 5_800_000.25, 35.0])),
    "far and huge": Placement(9000.0, np.array([1e9, 0.0, 0.0])),
}
STACKED = """import cadquery as cq
w0=cq.Workplane('XY',origin=(0,0,-100))
w1=cq.Workplane('XY',origin=(0,0,33))
r=w0.sketch().rect(120,90).finalize().extrude(133)\
.union(w1.workplane(offset=67/2).moveTo(7.5,-3).box(41,40.5,67))"""


def built(user: UserProgram) -> Mesh:
    mesh = program_to_mesh(user.program).mesh
    assert mesh is not None
    return mesh if user.rest is None else normalise(mesh, user.rest)


def drawn(index: int) -> Program:
    program = draw_program(77, index)
    assert program is not None
    return program


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=PLACEMENTS.keys())
@pytest.mark.parametrize("index", range(4))
def test_solid_lies_where_the_placement_puts_it(placement: Placement, index: int) -> None:
    program = drawn(index)
    original = program_to_mesh(program)
    assert original.mesh is not None
    expected = normalise(original.mesh, placement)
    mesh = built(program_to_user(program, placement))
    size = 200 * placement.scale
    # float64 leaves 1e-16 of the distance from the origin
    slack = 1e-4 * size + 1e-15 * float(np.abs(placement.offset).max())
    np.testing.assert_allclose(mesh.bounds, expected.bounds, rtol=0, atol=slack)
    near = Placement(1 / placement.scale, -placement.offset / placement.scale)
    assert normalise(mesh, near).signed_volume == pytest.approx(original.volume, rel=1e-3)


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=PLACEMENTS.keys())
def test_text_of_the_user_program_reads_back(placement: Placement) -> None:
    user = program_to_user(drawn(5), placement)
    again = text_to_user_program(user_program_to_text(user, comments=("a\nb", "c")))
    assert again.program == user.program
    assert (again.rest is None) == (user.rest is None)
    if user.rest is not None and again.rest is not None:
        assert again.rest.scale == user.rest.scale
        np.testing.assert_array_equal(again.rest.offset, user.rest.offset)


@pytest.mark.parametrize("placement", PLACEMENTS.values(), ids=PLACEMENTS.keys())
def test_faces_that_touch_still_do_in_exact_decimals(placement: Placement) -> None:
    user = program_to_user(text_to_program(STACKED), placement)
    (first, second), (low, high) = user.program.bodies, user.program.planes
    top = Decimal(str(low.origin[2])) + Decimal(str(first.height))  # type: ignore[union-attr]
    assert top == Decimal(str(high.origin[2]))
    assert second.twice_offset == second.size[2]  # type: ignore[union-attr]


def test_numbers_are_the_users_own_and_short() -> None:
    program = text_to_program(STACKED)
    user = program_to_user(program, Placement(0.79999997, np.array([35.0, -20.0, 48.000001])))
    assert user.rest is None
    assert program_to_text(user.program) == (
        "import cadquery as cq\n"
        "w0=cq.Workplane('XY',origin=(35,-20,-32))\n"
        "w1=cq.Workplane('XY',origin=(35,-20,74.4))\n"
        "r=w0.sketch().rect(96,72).finalize().extrude(106.4)"
        ".union(w1.workplane(offset=53.6/2).moveTo(6,-2.4).box(32.8,32.4,53.6))"
    )


def test_ordinary_parts_leave_no_rest_and_print_pure_dialect() -> None:
    for key in ("plain", "float32 noise", "odd", "small", "large"):
        user = program_to_user(drawn(1), PLACEMENTS[key])
        assert user.rest is None
        assert text_to_program(user_program_to_text(user)) == user.program


def test_the_identity_changes_nothing() -> None:
    for index in range(20):
        program = drawn(index)
        assert program_to_user(program, Placement(1.0, np.zeros(3))).program == program


def test_a_part_in_metres_shows_millimetres_and_one_line_that_scales() -> None:
    user = program_to_user(text_to_program(STACKED), Placement(0.0008, np.zeros(3)))
    lines = user_program_to_text(user).splitlines()
    assert "box(32.8,32.4,53.6)" in lines[3]
    assert lines[4] == "r=cq.Workplane(r.val().scale(0.001).translate((0.0,0.0,0.0)))"
