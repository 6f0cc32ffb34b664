"""The F-score of two surfaces."""

from __future__ import annotations

import manifold3d as m3
import numpy as np
import pytest

from cadwright.errors import InputError
from cadwright.geometry.f_score import FScore, f_score
from cadwright.geometry.manifolds import manifold_to_mesh
from cadwright.types import Mesh


def cube(shift: float = 0.0) -> Mesh:
    mesh = manifold_to_mesh(m3.Manifold.cube((1, 1, 1), True))
    return Mesh(mesh.vertices + np.array([shift, 0, 0]), mesh.faces)


def test_a_surface_scores_one_against_itself_but_for_sampling() -> None:
    assert f_score(cube(), cube(), threshold=1 / 64, seed=0).value > 0.9995


def test_far_apart_scores_zero() -> None:
    assert f_score(cube(), cube(5.0), threshold=1 / 64, seed=0).value == 0.0


def test_a_shift_loses_the_two_faces_across_it() -> None:
    found = f_score(cube(), cube(0.05), threshold=0.02, seed=0)
    assert found.value == pytest.approx(4 / 6, abs=0.04)


def test_a_missing_half_costs_recall_only() -> None:
    half = cube()
    half = Mesh(half.vertices, half.faces[:6])
    found = f_score(cube(), half, threshold=1 / 64, seed=0)
    assert found.precision > 0.999 and found.recall == pytest.approx(0.5, abs=0.06)


def test_the_harmonic_mean() -> None:
    assert FScore(1.0, 0.5).value == pytest.approx(2 / 3)


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan"), float("inf")])
def test_a_threshold_that_is_no_length_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold"):
        f_score(cube(), cube(), threshold=threshold, seed=0)
