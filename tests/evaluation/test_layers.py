"""Stacks of prisms: the volume they share is that of the solids' boolean, sooner."""

from __future__ import annotations

import manifold3d
import numpy as np
import pytest

from cadwright.evaluation.layers import LayeredSolid, shared_volume
from cadwright.geometry.frames import Placement, normalise
from cadwright.geometry.manifolds import manifold_to_mesh, mesh_to_manifold

M = manifold3d.Manifold
HERE = Placement(1.0, np.zeros(3))
TURNS = {"x": (0, 90, 0), "y": (90, 0, 0), "z": (0, 0, 0)}


def layered(solid: M) -> LayeredSolid:
    return LayeredSolid(solid, manifold_to_mesh(solid))


def stack(seed: int) -> M:
    """Two plates, one with a round hole, and a peg on them."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.uniform(0.1, 0.4, 3)
    plate = M.cube((1, 0.8, a)) - M.cylinder(1, b, b, 48).translate((0.4, 0.4, -0.2))
    other = M.cube((0.5, 0.5, b)).rotate((0, 0, 30)).translate((0.2, 0.1, a))
    return plate + other + M.cylinder(0.3, 0.1, 0.1, 32).translate((c, c, a + b - 0.05))


@pytest.mark.parametrize("axis", TURNS)
@pytest.mark.parametrize("seed", range(3))
def test_the_shared_volume_is_that_of_the_boolean(axis: str, seed: int) -> None:
    one, two = (stack(seed + k).rotate(TURNS[axis]) for k in (0, 10))
    way = Placement(0.9, np.array([0.05, -0.03, 0.02]))
    moved = mesh_to_manifold(normalise(manifold_to_mesh(two), way))
    found = shared_volume(layered(one), layered(two), way)
    assert found == pytest.approx((one ^ moved).volume(), rel=1e-6)


@pytest.mark.parametrize("axis", TURNS)
def test_a_solid_shares_all_its_volume_with_itself(axis: str) -> None:
    solid = stack(0).rotate(TURNS[axis])
    found = shared_volume(layered(solid), layered(solid), HERE)
    assert found == pytest.approx(solid.volume(), rel=1e-6)


def test_solids_apart_share_nothing() -> None:
    one, two = M.cube((1, 1, 1)), M.cube((1, 1, 1)).translate((1, 0, 3))
    assert shared_volume(layered(one), layered(two), HERE) == 0


def test_a_hollow_is_not_filled() -> None:
    hollow = M.cube((3, 3, 3)) - M.cube((1, 1, 1)).translate((1, 1, 1))
    assert shared_volume(layered(hollow), layered(hollow), HERE) == pytest.approx(26, rel=1e-6)


def test_what_is_no_stack_is_left_to_the_solids() -> None:
    upright, lying = M.cylinder(1, 1, 1, 32), M.cylinder(1, 1, 1, 32).rotate((90, 0, 0))
    ball = M.sphere(1, 32)
    assert layered(upright).levels.keys() == {2} and layered(lying).levels.keys() == {1}
    assert not layered(ball).levels
    assert shared_volume(layered(upright), layered(lying), HERE) is None
    assert shared_volume(layered(upright), layered(ball), HERE) is None


def test_a_wall_that_leans_is_no_prism() -> None:
    assert not layered(M.cylinder(1, 1, 0.999, 32)).levels


def test_with_many_levels_the_solids_are_quicker() -> None:
    stairs = M.batch_boolean(
        [M.cube((1, 1, 1)).translate((0.1 * k, 0.1 * k, 0.1 * k)) for k in range(9)],
        manifold3d.OpType.Add,
    )
    assert not layered(stairs).levels
