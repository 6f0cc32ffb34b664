"""Intervals: they hold the value, shrink with more parts, and repeat with their seed."""

from __future__ import annotations

import numpy as np
import pytest

from cadwright.evaluation.bootstrap import Estimate, estimate


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).random(200)
    assert estimate(values, seed=3) == estimate(values, seed=3)
    assert estimate(values, seed=3) != estimate(values, seed=4)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_the_interval_holds_the_value_and_shrinks(statistic) -> None:
    rng = np.random.default_rng(0)
    few, many = (estimate(rng.random(n), statistic, seed=0) for n in (50, 5000))
    assert few.low < few.value < few.high
    assert many.high - many.low < 0.2 * (few.high - few.low)


def test_it_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [estimate(rng.normal(size=80), seed=k, num_draws=300) for k in range(200)]
    assert 0.89 < np.mean([one.low < 0 < one.high for one in found]) < 0.99


def test_a_mean_of_equal_values_is_sure() -> None:
    assert estimate(np.full(9, 0.5), seed=0) == Estimate(0.5, 0.5, 0.5, 9)


def test_parts_without_a_value_are_left_out() -> None:
    found = estimate(np.array([1.0, np.nan, 3.0]), seed=0)
    assert found.value == 2 and found.num == 2 and 1 <= found.low <= found.high <= 3


def test_nothing_gives_nothing() -> None:
    nothing = Estimate(None, None, None, 0)
    assert estimate(np.zeros(0), seed=0) == estimate(np.full(3, np.nan), seed=0) == nothing
