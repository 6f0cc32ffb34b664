import numpy as np
import pytest

from cadwright.geometry.levels import Levels
from cadwright.geometry.mesh_io import Shape, shape_from_mesh, shape_from_points
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.inference.candidates import Candidate, Scorer, read_candidates
from cadwright.inference.fit_levels import match_levels, with_levels_fitted
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program

HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,-60))\n"
RIGHT = HEAD + (
    "r=w0.sketch().rect(200,100).push([(40,10)]).rect(50,30,mode='s').finalize().extrude(40)"
    ".union(w0.workplane(offset=120/2).moveTo(-70,0).box(60,100,120))"
)
# the right faces in the right order, each at another place
WRONG = HEAD.replace("-60", "-58") + (
    "r=w0.sketch().rect(196,104).push([(28,4)]).rect(62,44,mode='s').finalize().extrude(52)"
    ".union(w0.workplane(offset=114/2).moveTo(-78,0).box(40,104,114))"
)
OTHER = HEAD + "r=w0.workplane(offset=120/2).moveTo(0,0).cylinder(120,50)"


def target(kind: str) -> Shape:
    mesh = program_to_mesh(text_to_program(RIGHT)).mesh
    assert mesh is not None
    if kind == "solid":
        return shape_from_mesh(mesh, "part")
    rng = np.random.default_rng(0)
    return shape_from_points(sample_surface(mesh, 8192, rng), "part")


def levels(*rows: tuple[float, float, float]) -> Levels:
    places, up, down = np.array(rows, dtype=np.float64).T
    return Levels(places, np.stack([up, down], axis=1))


def test_levels_are_paired_in_their_order_and_by_their_side():
    have = levels((0, 0, 100), (20, 50, 0), (30, 50, 0))
    want = levels((-5, 0, 100), (10, 0, 60), (26, 50, 0), (33, 50, 0))
    pairs = match_levels(have, want, reach=20)
    assert pairs.tolist() == [[0, -5], [20, 26], [30, 33]]


def test_a_level_out_of_reach_stays():
    pairs = match_levels(levels((0, 0, 100), (50, 9, 0)), levels((1, 0, 100), (90, 9, 0)), reach=30)
    assert pairs.tolist() == [[0, 1]]


def test_shapes_without_levels_have_no_pairs():
    nothing = Levels(np.zeros(0), np.zeros((0, 2)))
    assert match_levels(nothing, levels((0, 0, 1)), reach=9).shape == (0, 2)


@pytest.mark.parametrize("kind", ["solid", "points"])
def test_faces_in_the_right_order_come_to_the_right_places(kind):
    shape = target(kind)
    scorer = Scorer(shape, seed=0)
    ranked, _ = read_candidates([WRONG], scorer)
    fitted = with_levels_fitted(ranked, scorer, shape, seed=0)
    solid = Scorer(target("solid"), seed=0)
    before, after = solid.candidate(ranked[0].program, "model"), solid.fit(fitted[0].mesh)
    assert isinstance(before, Candidate) and before.fit < 0.8
    assert after > 0.99 if kind == "solid" else after > 0.95


def test_no_candidate_becomes_worse_and_each_stands_once():
    shape = target("solid")
    scorer = Scorer(shape, seed=0)
    ranked, _ = read_candidates([WRONG, OTHER, RIGHT], scorer)
    fitted = with_levels_fitted(ranked, scorer, shape, seed=0)
    fits = [one.fit for one in fitted]
    assert fits == sorted(fits, reverse=True)
    assert len({one.program for one in fitted}) == len(fitted)
    assert fitted[0].fit >= ranked[0].fit > 0.999
    assert {one.source for one in fitted} == {"model"}


def test_a_target_of_many_faces_is_compared_with_fewer_programs(monkeypatch):
    shape = target("solid")
    scorer = Scorer(shape, seed=0)
    ranked, _ = read_candidates([WRONG, OTHER], scorer)
    built = []
    original = scorer.candidate

    def counted(program, source):
        built.append(program)
        return original(program, source)

    monkeypatch.setattr(scorer, "candidate", counted)
    monkeypatch.setattr("cadwright.inference.fit_levels.FACES_COMPARED", 1)
    monkeypatch.setattr("cadwright.inference.fit_levels.FEWEST_TRIES", 2)
    with_levels_fitted(ranked, scorer, shape, seed=0)
    assert len(built) == 2
