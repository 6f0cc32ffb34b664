"""Search: proposals lie inside, moves keep the structure, the result beats its start."""

import time
from dataclasses import replace

import numpy as np
import pytest

from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import shape_from_mesh
from cadwright.geometry.metrics import volume_iou
from cadwright.geometry.voxels import count
from cadwright.inference.search.cells import solid_to_cells
from cadwright.inference.search.cover import (
    cover,
    in_order_of_use,
    proposals_to_blocks,
    with_bodies,
    without_body,
)
from cadwright.inference.search.handles import program_to_handles
from cadwright.inference.search.objective import EXACT_MISS, CellObjective, ExactObjective
from cadwright.inference.search.refine import refine
from cadwright.inference.search.rounding import rounded_numbers
from cadwright.inference.search.search import SearchTarget, Stages, search
from cadwright.inference.search.slices import propose_bodies
from cadwright.inference.search.template import Template
from cadwright.program.grammar import Extrude, Program, Push, numbers, with_numbers
from cadwright.program.program_to_mesh import program_to_manifold, program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.generate import draw_program, draw_solid

PLATE = (
    "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-15))\n"
    "r=w0.sketch().rect(200,120).push([(60,20)]).circle(18,mode='s').finalize().extrude(30)"
)


def drawn(index: int) -> Program:
    program = draw_program(21, index)
    assert program is not None
    return program


def never() -> float:
    return time.perf_counter() + 3600


def test_a_template_rebuilds_and_changes_like_the_tree() -> None:
    for index in range(20):
        program = drawn(index)
        template = Template(program)
        values = [value + (1 if k % 3 == 0 else 0) for k, value in enumerate(template.values)]
        changed = [k for k in range(len(values)) if k % 3 == 0]
        assert template.changed(changed, values) == with_numbers(program, values)


def test_handles_reach_every_number_but_the_fixed_origins() -> None:
    for index in range(20):
        program = drawn(index)
        reached = {k for handle in program_to_handles(program) for k, _ in handle}
        normals = sum(1 for _ in numbers(program.bodies)) + len(program.planes)
        assert len(reached) == normals


def test_proposed_bodies_lie_inside_the_target() -> None:
    for index in range(6):
        solid = draw_solid(21, index)
        assert solid is not None
        target = solid_to_cells(solid[1], n=104)
        blocks = proposals_to_blocks(list(propose_bodies(solid[1])), target)
        assert blocks
        for block in blocks:
            assert count(block.bits & ~target.inside) <= 0.1 * count(block.bits) + 2 * 104


@pytest.mark.parametrize("caution", [0.5, 1.0, 20.0])
def test_a_cover_takes_the_body_that_gains_most_each_time(caution: float) -> None:
    solid = draw_solid(21, 3)
    assert solid is not None
    target = solid_to_cells(solid[1], n=52)
    blocks = proposals_to_blocks(propose_bodies(solid[1]), target)
    covered = target.grid.empty()
    for proposal in cover(target, blocks, covered, caution=caution):
        gains = []
        for block in blocks:
            new = block.bits & ~covered
            right, wrong = count(new & target.inside), count(new & ~target.inside)
            gains.append((right - caution * wrong) / target.total - block.price)
        chosen = next(block for block in blocks if block.proposal is proposal)
        assert gains[blocks.index(chosen)] == pytest.approx(max(gains))
        covered = covered | chosen.bits
    assert count(covered) > 0


def test_last_moves_keep_edges_along_their_axis() -> None:
    # the true right side lies between two steps: a slanted one would fit best
    head = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-15))\n"
    text = (
        head + "r=w0.sketch().segment((-100,-50),({x},-50)).segment(({x},30)).segment((0,50))"
        ".segment((-100,50)).close().assemble().finalize().extrude(30)"
    )
    objective = ExactObjective(program_to_manifold(text_to_program(text.format(x=50.37))))
    start = text_to_program(text.format(x=50))
    rng = np.random.default_rng(0)
    found, score = refine(start, objective, deadline=never(), rng=rng, steps=(0.5, 0.25))
    assert found == text_to_program(text.format(x=50.25))
    assert score > objective.score(start)


def test_refinement_finds_moved_numbers_again() -> None:
    solid = program_to_manifold(text_to_program(PLATE))
    moved = text_to_program(
        PLATE.replace("(60,20)", "(48,11)").replace("extrude(30)", "extrude(41)")
    )
    objective = CellObjective(solid_to_cells(solid, n=208))
    found, score = refine(moved, objective, deadline=never(), rng=np.random.default_rng(0))
    assert score > 0.999 > objective.score(moved)
    assert found == text_to_program(PLATE)


def test_a_surface_without_inside_is_refined_by_distance() -> None:
    target = program_to_mesh(text_to_program(PLATE)).mesh
    assert target is not None
    points = SearchTarget.from_shape(shape_from_mesh(target, "plate")).points
    moved = text_to_program(PLATE.replace("extrude(30)", "extrude(46)"))
    result = search(SearchTarget(None, points), [moved], 3.0, seed=0, clock=None)
    assert result is not None and result.score > result.start_score
    height = list(numbers(result.program))[-1]
    assert abs(height - 30) <= 1


@pytest.mark.parametrize(
    "index", [0, *(pytest.param(index, marks=pytest.mark.slow) for index in range(1, 5))]
)
def test_search_from_nothing_rebuilds_generated_parts(index: int) -> None:
    solid = draw_solid(22, index)
    assert solid is not None
    mesh = manifold_to_mesh(solid[1])
    result = search(SearchTarget(solid[1], mesh.vertices), [], 3.0, seed=0, clock=None)
    assert result is not None and result.from_slices
    built = program_to_mesh(result.program)
    assert built.mesh is not None
    assert volume_iou(mesh, built.mesh) > 0.93


def test_the_same_seed_gives_the_same_program() -> None:
    solid = program_to_manifold(text_to_program(PLATE))
    target = SearchTarget(solid, np.zeros((1, 3)))
    first, second = (search(target, [], 1.0, seed=5, clock=None) for _ in range(2))
    assert first is not None and second is not None
    assert first.program == second.program and first.tries == second.tries


def test_a_search_that_has_no_time_returns_the_best_candidate() -> None:
    solid = program_to_manifold(text_to_program(PLATE))
    far, near = (text_to_program(PLATE.replace("extrude(30)", f"extrude({h})")) for h in (60, 31))
    result = search(SearchTarget(solid, np.zeros((1, 3))), [far, near], 0.001, seed=0)
    assert result is not None and result.program == near


def test_stages_can_be_switched_off_one_at_a_time() -> None:
    solid = program_to_manifold(text_to_program(PLATE))
    target = SearchTarget(solid, np.zeros((1, 3)))
    start = text_to_program(PLATE.replace("(60,20)", "(48,11)"))
    without = Stages(slices=False, numbers=False, residual=False, polish=False, between=False)
    result = search(target, [start], 1.0, seed=0, stages=without, clock=None)
    assert result is not None and result.program == start
    moved = search(target, [start], 1.0, seed=0, stages=replace(without, numbers=True), clock=None)
    assert moved is not None and moved.program != start and moved.score > result.score


def test_rounding_takes_odd_numbers_back_where_the_fit_allows() -> None:
    solid = program_to_manifold(text_to_program(PLATE), miss=EXACT_MISS)
    odd = text_to_program(PLATE.replace("extrude(30)", "extrude(30.25)"))
    objective = ExactObjective(solid)
    found, score = rounded_numbers(odd, objective.score(odd), objective, deadline=never())
    assert found == text_to_program(PLATE) and score > 0.9999


def test_rounding_makes_nearly_symmetric_holes_symmetric() -> None:
    holes = ".push([({a},20.4)]).circle(8,mode='s').push([(-{b},20.4)]).circle(8,mode='s')"
    text = (
        "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\n"
        "r=w0.sketch().rect(200,120)" + holes + ".finalize().extrude(30)"
    )
    objective = ExactObjective(program_to_manifold(text_to_program(text.format(a=60.4, b=60.4))))
    odd = text_to_program(text.format(a=60.42, b=60.38))
    found, _ = rounded_numbers(odd, objective.score(odd), objective, deadline=never())
    (body,) = found.bodies
    assert isinstance(body, Extrude)
    first, second = (op.point[0] for op in body.sketch.ops if isinstance(op, Push))
    assert first == -second


def test_bodies_come_and_go_with_their_planes() -> None:
    program = next(p for p in map(drawn, range(50)) if len(p.planes) == 2 and len(p.bodies) == 2)
    alone = without_body(program, 0)
    assert len(alone.bodies) == 1 and len(alone.planes) == 1
    assert program_to_mesh(alone).volume < program_to_mesh(program).volume
    assert with_bodies(alone, []) == alone


def test_planes_stand_in_the_order_in_which_bodies_use_them() -> None:
    program = text_to_program(
        "import cadquery as cq\n"
        "w0=cq.Workplane('XY',origin=(0,0,0))\n"
        "w1=cq.Workplane('YZ',origin=(5,0,0))\n"
        "r=w1.workplane(offset=0/2).box(20,20,9).union(w0.workplane(offset=0/2).box(90,9,9))"
    )
    ordered = in_order_of_use(program)
    assert [plane.axes for plane in ordered.planes] == ["YZ", "XY"]
    assert [body.plane for body in ordered.bodies] == [0, 1]
    before, after = (program_to_mesh(one).mesh for one in (program, ordered))
    assert before is not None and after is not None
    assert volume_iou(before, after) > 0.9999
