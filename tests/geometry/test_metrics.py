"""The scorer: laws of a distance and of an IoU, and the published values it must give."""

from __future__ import annotations

import json
from pathlib import Path

import manifold3d
import numpy as np
import pytest

from cadwright.errors import GeometryError
from cadwright.geometry.frames import Placement, normalise
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.geometry.mesh_io import load_shape
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.metrics import (
    Score,
    Target,
    chamfer_distance,
    deviation,
    direct_protocol,
    published_protocol,
    volume_iou,
)
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

SHAPES = Path(__file__).parents[1] / "golden" / "shapes"
PUBLISHED = json.loads((SHAPES / "metrics.json").read_text())
CUBE = manifold_to_mesh(manifold3d.Manifold.cube((1.0, 1.0, 1.0)))


def box(*sides: float, at: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    return Mesh(CUBE.vertices * sides + at, CUBE.faces)


def golden(name: str) -> Mesh:
    return load_shape(SHAPES / name).mesh


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["target"])
def test_published_values_are_reproduced(row) -> None:
    target = golden(row["target"])
    built = program_to_mesh(text_to_program(row["program"]))
    scores = [published_protocol(target, built.mesh, seed=seed) for seed in range(8)]
    assert np.mean([s.chamfer for s in scores]) == pytest.approx(row["chamfer"], rel=0.03)
    assert scores[0].iou == pytest.approx(row["iou"], abs=0.002)
    assert len({s.iou for s in scores}) == 1  # nothing of it is drawn


def test_chamfer_of_hand_made_clouds() -> None:
    a = np.array([[0.0, 0, 0], [1, 0, 0]])
    b = np.array([[0.0, 0, 0], [1, 0, 0], [3, 4, 0]])
    assert chamfer_distance(a, b) == pytest.approx(0 + 20 / 3)  # 4 + 16 to the nearer one
    assert chamfer_distance(a, a) == 0


def test_chamfer_is_symmetric_and_moves_along_and_scales_squared() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(500, 3)), rng.normal(size=(400, 3))
    value = chamfer_distance(a, b)
    assert value == pytest.approx(chamfer_distance(b, a))
    assert value == pytest.approx(chamfer_distance(a[::-1], b))
    assert value == pytest.approx(chamfer_distance(a + 9, b + 9))
    assert 4 * value == pytest.approx(chamfer_distance(2 * a, 2 * b))


def test_chamfer_is_what_all_pairs_give() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 3)), rng.normal(size=(50, 3))
    pairs = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    expected = pairs.min(axis=1).mean() + pairs.min(axis=0).mean()
    assert chamfer_distance(a, b) == pytest.approx(expected)


def test_the_noise_floor_of_chamfer_is_the_known_one() -> None:
    scores = [direct_protocol(golden("05.stl"), golden("05.stl"), seed=s) for s in range(3)]
    assert all(1e-4 < score.chamfer < 3e-4 for score in scores)


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.full((4, 3), np.nan)])
def test_chamfer_of_no_points_is_refused(bad) -> None:
    with pytest.raises(GeometryError):
        chamfer_distance(bad, np.zeros((4, 3)))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (box(1, 1, 1), box(1, 1, 1), 1),
        (box(1, 1, 1), box(1, 1, 1, at=(0.5, 0, 0)), 1 / 3),
        (box(1, 1, 1), box(1, 1, 1, at=(5, 0, 0)), 0),
        (box(1, 1, 1), box(1, 1, 1, at=(1, 0, 0)), 0),
        (box(2, 2, 2), box(1, 1, 1), 1 / 8),
    ],
    ids=["same", "shifted", "apart", "touching", "within"],
)
def test_iou_of_boxes(a: Mesh, b: Mesh, expected: float) -> None:
    assert volume_iou(a, b) == pytest.approx(expected, abs=1e-9)
    assert volume_iou(b, a) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("number", range(12))
def test_iou_with_itself_is_one_and_joint_motion_changes_nothing(number: int) -> None:
    mesh, other = golden(f"{number:02}.stl"), golden("05.stl")
    assert volume_iou(mesh, mesh) == pytest.approx(1, abs=1e-9)
    value = volume_iou(mesh, other)
    assert 0 < value <= 1
    move = Placement(37.5, (300, -20, 7))
    assert volume_iou(normalise(mesh, move), normalise(other, move)) == pytest.approx(value, 1e-6)


def test_iou_counts_every_body_and_no_overlap_twice() -> None:
    parts = [box(1, 1, 1), box(1, 1, 1, at=(0.5, 0, 0)), box(1, 1, 1, at=(4, 0, 0))]
    faces = np.concatenate([part.faces + 8 * i for i, part in enumerate(parts)])
    both = Mesh(np.concatenate([part.vertices for part in parts]), faces)
    assert volume_iou(both, both) == pytest.approx(1)
    assert volume_iou(both, box(1.5, 1, 1)) == pytest.approx(1.5 / 2.5)


def test_iou_of_an_open_mesh_is_refused() -> None:
    with pytest.raises(GeometryError, match="not closed"):
        volume_iou(box(1, 1, 1), Mesh(CUBE.vertices, CUBE.faces[1:]))


def test_the_published_protocol_forgives_scale_and_place_the_direct_one_does_not() -> None:
    target, wrong = box(4, 2, 1), box(2, 1, 0.5, at=(9, 9, 9))
    assert published_protocol(target, wrong, seed=0).iou == pytest.approx(1)
    assert direct_protocol(target, wrong, seed=0).iou == 0
    assert direct_protocol(target, wrong, seed=0).chamfer > 1
    assert direct_protocol(target, target, seed=0).iou == pytest.approx(1)


@pytest.mark.parametrize("protocol", [published_protocol, direct_protocol])
def test_a_protocol_does_not_depend_on_the_unit_of_the_user(protocol) -> None:
    target, prediction = box(4, 2, 1), box(3.9, 2, 1.1, at=(0.1, 0, 0))
    move = Placement(25.4, (1000, 0, -3))
    one = protocol(target, prediction, seed=0)
    two = protocol(normalise(target, move), normalise(prediction, move), seed=0)
    assert two.iou == pytest.approx(one.iou, abs=1e-9)
    assert two.chamfer == pytest.approx(one.chamfer, rel=1e-6)


def test_a_seed_fixes_a_score_and_a_target_made_ready_gives_the_same() -> None:
    target, prediction = golden("05.stl"), golden("09.stl")
    score = published_protocol(target, prediction, seed=4)
    assert score == published_protocol(target, prediction, seed=4)
    assert score.chamfer != published_protocol(target, prediction, seed=5).chamfer
    ready = Target(target, seed=4)
    assert ready.published(prediction) == score
    assert ready.published(prediction) == score  # and again: nothing of it is used up
    assert ready.direct(prediction) == direct_protocol(target, prediction, seed=4)
    assert ready.direct_iou(prediction) == ready.direct(prediction).iou
    assert ready.direct(prediction) == Score(
        ready.direct(prediction).chamfer, volume_iou(target, prediction)
    )


def test_deviation_of_a_shape_from_itself_is_nothing() -> None:
    mesh = golden("06.stl")
    points = sample_surface(mesh, 500, np.random.default_rng(0))
    assert deviation(points, mesh).max < 1e-12


def test_deviation_of_shifted_points_is_the_shift() -> None:
    points = np.random.default_rng(0).uniform(0, 1, (1000, 3)) * (1, 1, 0) + (0, 0, 1.25)
    points[:10, 2] = 3
    found = deviation(points, CUBE)
    assert found.p95 == pytest.approx(0.25) and found.max == pytest.approx(2)
    assert found.mean == pytest.approx(0.25 * 0.99 + 2 * 0.01)


def test_deviation_of_no_points_is_refused() -> None:
    with pytest.raises(GeometryError):
        deviation(np.zeros((0, 3)), CUBE)
