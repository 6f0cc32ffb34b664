"""Scripts: named dimensions, plain CadQuery, the same program again when read."""

from __future__ import annotations

import numpy as np
import pytest

from cadwright.errors import CadwrightError
from cadwright.geometry.frames import Placement, normalise
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_script import user_program_to_script
from cadwright.program.program_to_user import (
    UserProgram,
    program_to_user,
    rest_to_text,
    text_to_user_program,
)
from cadwright.program.round_numbers import roundest, with_round_numbers
from cadwright.program.script_to_text import script_to_text
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.generate import draw_program

PLATE = """import cadquery as cq
w0=cq.Workplane('XY',origin=(0,0,-15))
r=w0.sketch().rect(200,120).push([(60,20)]).circle(18,mode='s').push([(-60,20)])\
.circle(18,mode='s').finalize().extrude(30)\
.union(w0.workplane(offset=80/2).moveTo(0,-40).box(50,20,80))\
.cut(w0.workplane(offset=80/2).moveTo(0,-40).cylinder(80,5))"""


def drawn(index: int) -> Program:
    program = draw_program(78, index)
    assert program is not None
    return program


@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("tolerance", [0.0, 0.001])
def test_a_script_reads_back_as_the_same_program(index: int, tolerance: float) -> None:
    placement = Placement(0.33337, np.array([12.345, 0.0, -6.0]))
    user = program_to_user(drawn(index), placement, tolerance=tolerance)
    script = user_program_to_script(user, comments=("a\nb",))
    assert text_to_user_program(script).program == user.program


def test_equal_dimensions_share_a_name_and_opposite_positions_a_sign() -> None:
    user = program_to_user(text_to_program(PLATE), Placement(0.4, np.array([0.0, 0.0, 6.0])))
    script = user_program_to_script(user)
    assert "profile_hole_x = 24\n" in script
    assert ".push([(-profile_hole_x, profile_hole_y)])" in script
    assert script.count("14.4") == 1  # both holes have one diameter
    assert ".cylinder(block_height, hole_diameter / 2)" in script


def test_a_changed_dimension_changes_the_solid() -> None:
    user = program_to_user(text_to_program(PLATE), Placement(1.0, np.zeros(3)))
    script = user_program_to_script(user).replace(
        "profile_length = 200", "profile_length = 180 + 40"
    )
    mesh = program_to_mesh(text_to_user_program(script).program).mesh
    assert mesh is not None
    assert np.ptp(mesh.vertices[:, 0]) == pytest.approx(220)


@pytest.mark.parametrize(
    "line",
    ["a = __import__('os')", "a = b", "a = 'x'", "a = 1 / 0", "a = 1e300 * 1e300", "a = [1]"],
)
def test_a_dimension_is_made_of_numbers_only(line: str) -> None:
    with pytest.raises(CadwrightError):
        text_to_user_program(f"import cadquery as cq\n{line}\n" + PLATE.split("\n", 1)[1])


def test_texts_without_dimensions_stay_as_they_are() -> None:
    assert script_to_text(PLATE) == PLATE
    assert script_to_text("r = (") == "r = ("


@pytest.mark.parametrize(
    ("value", "tolerance", "expected"),
    [(39.93, 0.1, 40), (33.24, 0.1, 33.2), (-39.93, 0.1, -40), (0.03, 0.1, 0), (12.52, 0.03, 12.5)],
)
def test_the_roundest_number_within_the_tolerance(
    value: float, tolerance: float, expected: float
) -> None:
    assert roundest(value, tolerance) == expected


@pytest.mark.parametrize("index", range(6))
def test_rounding_moves_faces_by_no_more_than_it_says(index: int) -> None:
    program = drawn(index)
    rounded, moved = with_round_numbers(program, tolerance=0.2, scale=0.37)
    assert moved <= 0.2 + 1e-9
    built, again = program_to_mesh(program), program_to_mesh(rounded)
    assert built.mesh is not None and again.mesh is not None
    gap = np.abs(again.mesh.bounds - built.mesh.bounds * 0.37).max()
    assert gap <= 0.2 + 1e-6
    assert again.volume == pytest.approx(built.volume * 0.37**3, rel=0.06)


def test_rounded_faces_that_touched_still_touch() -> None:
    stacked = text_to_program(
        "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-100))\n"
        "w1=cq.Workplane('XY',origin=(0,0,33))\nr=w0.sketch().rect(120,90).finalize().extrude(133)"
        ".union(w1.workplane(offset=67/2).moveTo(7.5,-3).box(41,40.5,67))"
    )
    rounded, _ = with_round_numbers(stacked, tolerance=0.3, scale=0.777)
    low, high = rounded.planes
    first, second = rounded.bodies
    assert low.origin[2] + first.height == pytest.approx(high.origin[2], abs=1e-9)  # type: ignore[union-attr]
    assert second.twice_offset == pytest.approx(second.size[2], abs=1e-9)  # type: ignore[union-attr]


def test_a_part_that_stands_askew_is_written_in_its_own_axes() -> None:
    angle = np.deg2rad(30)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    placement = Placement(0.4, np.array([5.0, 6.0, 7.0]), turn)
    program = text_to_program(PLATE)
    user = program_to_user(program, placement)
    assert user.rest is not None
    again = text_to_user_program(user_program_to_script(user))
    assert again.program == user.program and again.rest is not None
    original, mesh = program_to_mesh(program).mesh, program_to_mesh(again.program).mesh
    assert original is not None and mesh is not None
    np.testing.assert_allclose(
        normalise(mesh, again.rest).vertices, normalise(original, placement).vertices, atol=1e-6
    )
    assert ".rotate((0,0,0),(0.0,0.0,1.0),30" in rest_to_text(user.rest)


def test_the_rest_is_kept_by_a_script() -> None:
    user = program_to_user(text_to_program(PLATE), Placement(0.0004, np.array([0.1, 0.2, 0.3])))
    assert user.rest is not None
    again = text_to_user_program(user_program_to_script(user))
    assert isinstance(again, UserProgram) and again.rest is not None
    assert again.rest.scale == user.rest.scale
