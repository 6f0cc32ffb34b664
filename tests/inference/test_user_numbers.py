"""Round numbers are kept only where the part stays as good as it was."""

import numpy as np
import pytest

from cadwright.geometry.frames import Placement
from cadwright.geometry.metrics import volume_iou
from cadwright.inference.candidates import Candidate
from cadwright.inference.user_numbers import with_user_numbers
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_text import program_to_text
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-12))\n"
PLATE = (
    HEAD + "r=w0.sketch().rect(200,120).push([({x},18)]).circle(13,mode='s').finalize().extrude(24)"
)
TO_USER = Placement(0.8, np.zeros(3))  # 200 units are 160 mm


def mesh_of(text: str) -> Mesh:
    mesh = program_to_mesh(text_to_program(text)).mesh
    assert mesh is not None
    return mesh


def user_text(found: str, drawn: str) -> str:
    """What part.py says of a program that was found for a part drawn so."""
    target, program = mesh_of(drawn), text_to_program(found)
    built = program_to_mesh(program)
    assert built.mesh is not None
    candidate = Candidate(program, built, volume_iou(built.mesh, target), "search")
    user = with_user_numbers(candidate, TO_USER, lambda mesh: volume_iou(mesh, target))
    return program_to_text(user.program)


def test_numbers_that_fit_exactly_stay_the_drawings_own() -> None:
    # 18 units are 14.4 mm: half a millimetre off the grid of 0.5, and right as it is
    text = user_text(PLATE.format(x=48), PLATE.format(x=48))
    assert "(38.4,14.4)" in text


@pytest.mark.parametrize("found", [47.9, 48.1])
def test_numbers_a_little_off_go_to_the_round_ones_near_them(found: float) -> None:
    drawn = PLATE.format(x=50)  # 40 mm
    text = user_text(PLATE.format(x=found + 2), drawn)
    assert "(40,14.4)" in text
