"""The protocols: the published values, the one scorer's numbers, and what is forgiven."""

from __future__ import annotations

import json
from pathlib import Path

import manifold3d
import numpy as np
import pytest

from cadwright.errors import GeometryError
from cadwright.evaluation.protocol import PROTOCOLS, ScoredTarget
from cadwright.geometry.frames import PROGRAM_TO_UNIT, Placement, normalise, placement_to_unit
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import load_shape, shape_from_mesh, shape_from_points
from cadwright.geometry.metrics import Target
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

SHAPES = Path(__file__).parents[1] / "golden" / "shapes"
ROWS = json.loads((SHAPES / "metrics.json").read_text())
CUBE = manifold_to_mesh(manifold3d.Manifold.cube((1.0, 1.0, 1.0)))


def box(*sides: float, at: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    return Mesh(CUBE.vertices * sides + at, CUBE.faces)


def built(text: str) -> Mesh:
    mesh = program_to_mesh(text_to_program(text)).mesh
    assert mesh is not None
    return mesh


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["target"])
def test_published_values_are_reproduced(row) -> None:
    shape, mesh = load_shape(SHAPES / row["target"]), built(row["program"])
    scores = [
        ScoredTarget(shape, seed=seed, surface_iou=False).score(
            mesh, protocols=("published",), frame="program"
        )["published"]
        for seed in range(8)
    ]
    assert np.mean([s.chamfer for s in scores]) == pytest.approx(row["chamfer"], rel=0.03)
    assert scores[0].iou == pytest.approx(row["iou"], abs=0.002)


@pytest.mark.parametrize("row", ROWS[::3], ids=lambda row: row["target"])
def test_numbers_are_those_of_the_one_scorer(row) -> None:
    shape, mesh = load_shape(SHAPES / row["target"]), built(row["program"])
    found = ScoredTarget(shape, seed=5).score(mesh, protocols=PROTOCOLS, frame="program")
    assert shape.mesh is not None
    scorer = Target(shape.mesh, seed=5)
    expected = {
        "published": scorer.published(mesh),
        # from the box of 200 to where the target, as it came, fills the unit cube
        "direct": scorer.direct(
            normalise(mesh, scorer.placement.inverse().compose(PROGRAM_TO_UNIT))
        ),
    }
    for protocol, score in expected.items():
        assert found[protocol].chamfer == pytest.approx(score.chamfer, rel=1e-9)
        assert found[protocol].iou == pytest.approx(score.iou, abs=1e-6)


def test_published_forgives_scale_and_place_direct_does_not() -> None:
    target = ScoredTarget(shape_from_mesh(box(4, 2, 1), "t"), seed=0)
    score = target.score(box(2, 1, 0.5, at=(9, 9, 9)), protocols=PROTOCOLS, frame="target")
    assert score["published"].iou == pytest.approx(1)
    assert score["direct"].iou == 0 and score["direct"].chamfer > 1
    assert score["direct"].surface_iou == 0


def test_the_program_frame_is_the_box_of_200_around_the_origin() -> None:
    target = ScoredTarget(shape_from_mesh(box(4, 2, 1, at=(7, 7, 7)), "t"), seed=0)
    fits = box(200, 100, 50, at=(-100, -50, -25))
    assert target.score(fits, protocols=("direct",), frame="program")["direct"].iou == (
        pytest.approx(1)
    )
    assert target.score(fits, protocols=("direct",), frame="target")["direct"].iou < 1e-3


def test_two_placements_that_are_one_are_scored_once_and_alike() -> None:
    target = ScoredTarget(shape_from_mesh(box(4, 2, 1), "t"), seed=0)
    fits = box(200, 100, 50, at=(-100, -50, -25))
    score = target.score(fits, protocols=PROTOCOLS, frame="program")
    assert score["published"] is score["direct"]
    alone = target.score(fits, protocols=("direct",), frame="program")["direct"]
    assert alone.chamfer == pytest.approx(score["direct"].chamfer, rel=1e-9)


def test_a_score_does_not_depend_on_the_users_unit() -> None:
    goal, result = box(4, 2, 1), box(3.9, 2, 1.1, at=(0.1, 0, 0))
    move = Placement(25.4, (1000, 0, -3))
    found = [
        ScoredTarget(shape_from_mesh(a, "t"), seed=0).score(b, protocols=PROTOCOLS, frame="target")
        for a, b in ((goal, result), (normalise(goal, move), normalise(result, move)))
    ]
    for protocol in PROTOCOLS:
        assert found[0][protocol].iou == pytest.approx(found[1][protocol].iou, abs=1e-9)
        assert found[0][protocol].chamfer == pytest.approx(found[1][protocol].chamfer, rel=1e-6)


def test_surface_iou_is_the_share_of_near_points() -> None:
    flat = ScoredTarget(shape_from_mesh(box(1, 0.05, 0.05), "t"), seed=0)
    same = flat.score(box(1, 0.05, 0.05), protocols=("direct",), frame="target")["direct"]
    assert same.surface_iou > 0.999  # little surface, so the points are dense
    half = flat.score(box(1, 0.05, 0.05, at=(0.5, 0, 0)), protocols=("direct",), frame="target")[
        "direct"
    ]
    assert half.surface_iou == pytest.approx(0.5, abs=0.02)


def test_a_target_without_volume_has_no_iou_but_a_distance() -> None:
    sheet = Mesh(CUBE.vertices, CUBE.faces[:-1])
    cloud = np.random.default_rng(0).random((300, 3))
    for shape in (shape_from_mesh(sheet, "sheet"), shape_from_points(cloud, "cloud")):
        target = ScoredTarget(shape, seed=0)
        score = target.score(box(1, 1, 1), protocols=PROTOCOLS, frame="target")
        assert target.no_iou and target.solid is None
        assert score["direct"].iou is None and score["direct"].chamfer < 0.1


def test_an_open_prediction_has_no_iou_but_a_distance() -> None:
    target = ScoredTarget(shape_from_mesh(box(1, 1, 1), "t"), seed=0)
    sheet = Mesh(CUBE.vertices, CUBE.faces[:-1])
    score = target.score(sheet, protocols=("published",), frame="target")["published"]
    assert score.iou is None and score.chamfer < 0.01


def test_a_mesh_of_two_triangles_is_refused() -> None:
    target = ScoredTarget(shape_from_mesh(box(1, 1, 1), "t"), seed=0)
    with pytest.raises(GeometryError):
        target.score(Mesh(CUBE.vertices, CUBE.faces[:2]), protocols=PROTOCOLS, frame="target")


def test_placement_is_that_of_the_targets_own_bounds() -> None:
    mesh = box(4, 2, 1, at=(3, 3, 3))
    placement = ScoredTarget(shape_from_mesh(mesh, "t"), seed=0).placement
    assert placement.scale == placement_to_unit(mesh.bounds).scale
