from __future__ import annotations

import numpy as np
import pytest
from reconstruct_stubs import DISC, OPEN_LOOP, RING, SHORT

from cadwright.geometry.mesh_io import Shape, shape_from_mesh, shape_from_points
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.inference.candidates import (
    Candidate,
    Scorer,
    read_candidates,
    shape_to_points,
    with_bounds_fitted,
)
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh, Outcome


def fast(text: str) -> Mesh:
    mesh = program_to_mesh(text_to_program(text)).mesh
    assert mesh is not None
    return mesh


def ring_shape(kind: str) -> Shape:
    mesh = fast(RING)
    if kind == "points":
        return shape_from_points(sample_surface(mesh, 3000, np.random.default_rng(3)), "ring")
    faces = mesh.faces if kind == "solid" else mesh.faces[1:]
    return shape_from_mesh(Mesh(mesh.vertices, faces), "ring")


@pytest.mark.parametrize("kind", ["solid", "surface", "points"])
def test_best_fit_comes_first_for_every_kind_of_target(kind: str) -> None:
    scorer = Scorer(ring_shape(kind), seed=0)
    assert scorer.is_solid == (kind == "solid")
    assert bool(scorer.reason) == (kind != "solid")
    ranked, _ = read_candidates([SHORT, DISC, RING], scorer)
    assert ranked[0].program == text_to_program(RING)
    fits = [one.fit for one in ranked]
    assert fits == sorted(fits, reverse=True)


def test_repeated_programs_are_counted_but_built_once() -> None:
    scorer = Scorer(ring_shape("solid"), seed=0)
    ranked, outcomes = read_candidates([RING, DISC, RING, f"{RING}\n"], scorer)
    assert len(ranked) == 2
    assert outcomes == {Outcome.OK: 4}


def test_every_outcome_is_counted() -> None:
    texts = ["r=w0.(", "x=1", OPEN_LOOP, RING, ""]
    ranked, outcomes = read_candidates(texts, Scorer(ring_shape("solid"), seed=0))
    assert len(ranked) == 1
    assert outcomes == {
        Outcome.SYNTAX: 2, Outcome.UNSUPPORTED: 1, Outcome.INVALID: 1, Outcome.OK: 1,
    }  # fmt: skip


def test_equal_ious_are_told_apart_by_chamfer_distance() -> None:
    scorer = Scorer(ring_shape("solid"), seed=0)
    near, far = (scorer.candidate(text_to_program(text), "model") for text in (RING, SHORT))
    assert isinstance(near, Candidate)
    assert isinstance(far, Candidate)
    level = [Candidate(one.program, one.built, 0.5, "model") for one in (far, near)]
    assert [one.program for one in scorer.ranked(level)] == [near.program, far.program]


def test_points_of_a_shape_lie_in_its_own_frame() -> None:
    for kind in ("solid", "points"):
        shape = ring_shape(kind)
        points = shape_to_points(shape, 500, seed=1)
        assert points.shape == (500, 3)
        assert (points >= shape.bounds[0] - 1e-9).all()
        assert (points <= shape.bounds[1] + 1e-9).all()


def test_bounds_are_fitted_only_where_that_is_better() -> None:
    shape = ring_shape("solid")
    scorer = Scorer(shape, seed=0)
    decoded, _ = read_candidates([RING, SHORT, DISC], scorer)
    fitted = with_bounds_fitted(decoded, scorer, shape.bounds)
    assert fitted[0].program == decoded[0].program  # the ring itself
    assert {one.source for one in fitted} == {"model"}
    before = sorted(one.fit for one in decoded)
    after = sorted(one.fit for one in fitted)
    assert len(after) <= len(before) and after[0] >= before[0]
    assert sum(after) / len(after) > sum(before) / len(before)
