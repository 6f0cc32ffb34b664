"""Proposals beyond the published dialect: turned bodies, cut rims, cut corners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import load_shape
from cadwright.inference.search.cells import solid_to_cells
from cadwright.inference.search.corners import with_cut_corners
from cadwright.inference.search.cover import with_bodies
from cadwright.inference.search.evidence import SearchTarget, SolidEvidence
from cadwright.inference.search.objective import CellObjective
from cadwright.inference.search.search import search
from cadwright.inference.search.slices import Proposal, propose_bodies
from cadwright.inference.search.turned import mean_profile, turn_field
from cadwright.inference.search.turning import TurningAxis, turning_axes
from cadwright.inference.target import prepare
from cadwright.program.grammar import Corners, Extrude, Program, Revolve, numbers
from cadwright.program.outline import CircleLoop, EdgeLoop, Outline
from cadwright.program.program_to_mesh import program_to_manifold
from cadwright.program.program_to_text import program_to_text
from cadwright.program.text_to_program import text_to_program
from cadwright.types import FloatArray

SHAPES = Path(__file__).parents[1] / "golden" / "shapes"
PROFILE = (
    "r=w0.sketch().segment(({a},-100),({b},-100)).segment(({c},-20)).segment(({b},40))"
    ".segment(({b},100)).segment(({a},100)).close().assemble().finalize()"
    ".revolve(360,({a},0,0),({a},1,0))"
)
RIMMED = (
    "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-20))\n"
    "r=w0.sketch().rect(200,120).push([(50,10)]).circle(20,mode='s').finalize().extrude(40)"
    ".faces('>Z').edges().{kind}({size})"
)
ROUNDED = (
    "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-20))\n"
    "r=w0.sketch().rect(200,120).vertices().{kind}(24).push([(50,10)]).circle(20,mode='s')"
    ".finalize().extrude(40)"
)


def turned_part(axes: str = "XY", at: int = 0) -> Program:
    """A double cone with a shaft, turned about the plane's y."""
    numbers_ = {"a": at, "b": at + 20, "c": at + 60}
    head = f"import cadquery as cq\nw0=cq.Workplane('{axes}',origin=(0,0,0))\n"
    return text_to_program(head + PROFILE.format(**numbers_))


def surface(program: Program) -> tuple[FloatArray, FloatArray, FloatArray]:
    triangles = manifold_to_mesh(program_to_manifold(program)).triangles
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    return triangles.mean(axis=1), normals / areas[:, None], areas / 2


@pytest.mark.parametrize(("axes", "axis"), [("XY", 1), ("YZ", 2), ("ZX", 0)])
def test_an_axis_of_revolution_is_found_where_it_stands(axes: str, axis: int) -> None:
    found = turning_axes(*surface(turned_part(axes, at=30)))
    assert found[0].axis == axis and found[0].share > 0.3
    # the plane's x runs along the axis before its y, in cyclic order
    np.testing.assert_allclose(found[0].at, (0, 30), atol=0.5)


def test_flat_faces_and_cylinders_have_no_axis_to_turn_about() -> None:
    plate = RIMMED.split(".faces")[0]
    assert turning_axes(*surface(text_to_program(plate))) == []


@pytest.mark.parametrize(("axes", "at"), [("XY", 0), ("YZ", 30), ("ZX", -25)])
def test_the_profile_of_a_turned_solid_is_read_off_it(axes: str, at: int) -> None:
    solid = program_to_manifold(turned_part(axes, at))
    evidence = SolidEvidence(solid)
    proposed = [one for one in evidence.superset() if isinstance(one.body, Revolve)]
    objective = CellObjective(evidence.coarse)
    best = max(objective.score(with_bodies(None, [one])) for one in proposed)
    assert best > 0.97


def test_the_profile_of_cells_is_the_same_on_all_sides() -> None:
    cells = solid_to_cells(program_to_manifold(turned_part()), n=104)
    grid, axis = cells.grid, TurningAxis(1, (0.0, 0.0), 1.0)
    field = grid.unpack(cells.inside).astype(np.float32)
    np.testing.assert_allclose(
        mean_profile(field, grid, axis)[::-1], mean_profile(field, grid, axis)
    )
    # half sections: two shafts' and two cones' halves
    wanted = 20 * 200 + 40 * 80 / 2 + 40 * 60 / 2
    assert turn_field(field, grid, axis).area() == pytest.approx(wanted, rel=0.04)


def test_search_turns_what_was_turned() -> None:
    solid = program_to_manifold(turned_part(), miss=3e-4)
    found = search(SearchTarget(solid, np.zeros((1, 3))), [], 1.5, seed=0, clock=None)
    assert found is not None and found.score > 0.98
    assert len(found.program.bodies) == 1 and isinstance(found.program.bodies[0], Revolve)


@pytest.mark.parametrize(("kind", "size"), [("chamfer", 9), ("fillet", 8), ("chamfer", 4)])
def test_rims_are_found_with_their_kind_and_size(kind: str, size: int) -> None:
    program = text_to_program(RIMMED.format(kind=kind, size=size))
    evidence = SolidEvidence(program_to_manifold(program))
    objective = CellObjective(evidence.coarse)
    best = max(evidence.superset(), key=lambda one: objective.score(with_bodies(None, [one])))
    assert isinstance(best.body, Extrude)
    (rim,) = best.body.rims
    assert (rim.end, rim.kind) == (">", kind) and abs(rim.size - size) <= 1


def test_what_real_parts_have_between_their_faces_is_read_without_error() -> None:
    for path in sorted(SHAPES.glob("*.stl")):
        target = prepare(load_shape(path), seed=0).search_target
        assert target.solid is not None
        assert all(isinstance(one, Proposal) for one in SolidEvidence(target.solid).superset())


def test_a_sharp_plate_is_proposed_no_rims() -> None:
    plate = program_to_manifold(text_to_program(RIMMED.split(".faces")[0]))
    proposed = [*SolidEvidence(plate).superset(), *propose_bodies(plate)]
    assert not any(getattr(one.body, "rims", ()) for one in proposed)


@pytest.mark.parametrize("kind", ["chamfer", "fillet"])
def test_a_plate_with_cut_corners_is_proposed_as_such(kind: str) -> None:
    program = text_to_program(ROUNDED.format(kind=kind))
    solid = program_to_manifold(program, miss=1e-4)
    proposed = [one for one in propose_bodies(solid) if _corners(one)]
    evidence = SolidEvidence(solid)
    objective = CellObjective(evidence.coarse)
    best = max(proposed, key=lambda one: objective.score(with_bodies(None, [one])))
    (corners,) = _corners(best)
    assert corners.kind == kind and abs(corners.size - 24) <= 0.5
    assert objective.score(with_bodies(None, [best])) > 0.99
    assert sum(1 for _ in numbers(best.body)) <= 7


def test_corners_cut_unlike_each_other_stay_edges() -> None:
    points = (
        (-50, -30),
        (-40, -40),
        (40, -40),
        (50, -30),
        (50, 20),
        (30, 40),
        (-40, 40),
        (-50, 30),
    )
    outline = Outline(EdgeLoop(points, (None,) * 8), (CircleLoop((0, 0), 5),))
    assert with_cut_corners(outline, 10, 0.25) is None


def test_a_rounded_rectangle_off_the_middle_stays_a_rectangle() -> None:
    text = ROUNDED.format(kind="fillet", size=24).replace(
        ".rect(200,120)", ".push([(6,-9)]).rect(200,120).reset()"
    )
    solid = program_to_manifold(text_to_program(text), miss=1e-4)
    best = max(
        (one for one in propose_bodies(solid) if _corners(one)),
        key=lambda one: one.body.height if isinstance(one.body, Extrude) else 0,
    )
    program = with_bodies(None, [best])
    assert text_to_program(program_to_text(program)) == program
    assert "push([(6,-9)]).rect(200,120).reset().vertices()" in program_to_text(program)


def _corners(proposal: Proposal) -> list[Corners]:
    if not isinstance(proposal.body, Extrude):
        return []
    return [op for op in proposal.body.sketch.ops if isinstance(op, Corners)]


def test_a_loop_that_crosses_itself_is_not_sound() -> None:
    crossed = text_to_program(
        "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n"
        "r=w0.sketch().segment((-50,-50),(50,50)).segment((50,-50)).segment((-50,40)).close()"
        ".assemble().finalize().extrude(40)"
    )
    cells = solid_to_cells(program_to_manifold(turned_part()), n=64)
    objective = CellObjective(cells)
    assert not objective.is_sound(crossed) and objective.is_sound(turned_part())
    assert not objective.is_sound(text_to_program(RIMMED.format(kind="chamfer", size=45)))
