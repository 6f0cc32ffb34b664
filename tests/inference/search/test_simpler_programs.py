"""What noise put into a sketch is offered for removal, and search takes the offer."""

from __future__ import annotations

import numpy as np

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.inference.search.search import SearchTarget, search
from cadwright.inference.search.simpler_programs import simpler_programs
from cadwright.program.grammar import numbers
from cadwright.program.program_to_mesh import program_to_manifold, program_to_mesh
from cadwright.program.program_to_text import program_to_text
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Outcome

HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-20))\n"
CROOKED = HEAD + (
    "r=w0.sketch().segment((-80,-50),(0,-49)).segment((80,-50)).segment((80,50)).segment((-80,50))"
    ".close().assemble().push([(30,0)]).circle(15,mode='s').finalize().extrude(40)"
)


def test_a_corner_too_many_is_left_out() -> None:
    texts = [program_to_text(one) for one in simpler_programs(text_to_program(CROOKED))]
    straight = CROOKED.replace(".segment((-80,-50),(0,-49))", "").replace(
        ".segment((80,-50))", ".segment((-80,-50),(80,-50))", 1
    )
    assert straight in texts


def test_an_outline_is_offered_as_a_rectangle_that_keeps_its_hole() -> None:
    offered = list(simpler_programs(text_to_program(CROOKED)))
    wanted = ".sketch().rect(160,100).push([(30,0)]).circle(15,mode='s').finalize()"
    (plate,) = (one for one in offered if wanted in program_to_text(one))
    assert program_to_mesh(plate).outcome is Outcome.OK


def test_an_arc_with_a_ragged_rest_is_offered_as_its_circle() -> None:
    ragged = HEAD + (
        "r=w0.sketch().arc((-40,20),(-24,-12),(24,-12)).segment((40,40)).segment((-10,63)).close()"
        ".assemble().finalize().extrude(40)"
    )
    texts = [program_to_text(one) for one in simpler_programs(text_to_program(ragged))]
    assert any("push([(0,20)]).circle(40).finalize()" in text for text in texts)


def test_all_that_is_offered_is_shorter_and_can_be_read_again() -> None:
    inner = CROOKED.replace(".push([(30,0)]).circle(15,mode='s')", "")
    nested = inner.replace(
        ".finalize()",
        ".face(w0.sketch().arc((-20,0),(0,20),(20,0)).segment((10,-20)).segment((-20,-20)).close()"
        ".assemble(),mode='s').finalize()",
    )
    program = text_to_program(nested)
    offered = list(simpler_programs(program))
    assert any(".face(" in program_to_text(one) for one in offered)
    for one in offered:
        assert sum(1 for _ in numbers(one)) < sum(1 for _ in numbers(program))
        assert text_to_program(program_to_text(one)) == one


def test_a_noisy_plate_comes_back_as_a_plate() -> None:
    plate = HEAD + "r=w0.sketch().rect(200,120).push([(50,10)]).circle(20,mode='s').finalize()"
    mesh = manifold_to_mesh(program_to_manifold(text_to_program(plate + ".extrude(40)")))
    rng = np.random.default_rng(0)
    points = sample_surface(mesh, 6000, rng) + rng.normal(0, 1.0, (6000, 3))
    found = search(SearchTarget(None, points), [], 4.0, seed=0, clock=None)
    assert found is not None
    assert sum(1 for _ in numbers(found.program)) <= 20
