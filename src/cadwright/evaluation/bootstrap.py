"""Confidence intervals by bootstrap over parts: a table of per-part values in, intervals out.

A part that has no value (nan) is left out of means and medians, and drawn like any other. Same
rows, order and seed: same interval. Not covered: differences between training runs, which a
resampling of parts says nothing about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cadwright.types import FloatArray

NUM_DRAWS = 1000
LEVEL = 0.95
_CHUNK = 1 << 21  # values drawn at a time

Statistic = Literal["mean", "median"]
_STATISTICS: dict[Statistic, Callable[..., FloatArray]] = {
    "mean": np.nanmean,
    "median": np.nanmedian,
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic over parts.

    Attributes:
        value: of all parts that have a value; None where none has.
        low, high: ends of the 95 % interval.
        num: parts that have a value.
    """

    value: float | None
    low: float | None
    high: float | None
    num: int


def estimate(
    values: FloatArray,
    statistic: Statistic = "mean",
    *,
    seed: int,
    num_draws: int = NUM_DRAWS,
) -> Estimate:
    """A mean or median and its interval.

    Args:
        values: (N,) one for each part, nan where a part has none.
        statistic: which.
        seed: of the draws.
        num_draws: resamplings; 0 gives no interval.
    """
    known = int(np.isfinite(values).sum())
    if not known:
        return Estimate(None, None, None, 0)
    function = _STATISTICS[statistic]
    value = float(function(values))
    if not num_draws:
        return Estimate(value, None, None, known)
    rng = np.random.default_rng(seed)
    draws = np.full(num_draws, np.nan)
    step = max(1, _CHUNK // len(values))
    for start in range(0, num_draws, step):
        rows = min(step, num_draws - start)
        picked = values[rng.integers(len(values), size=(rows, len(values)))]
        some = np.isfinite(picked).any(axis=1)  # with few parts a draw may hold no value at all
        draws[start : start + rows][some] = function(picked[some], axis=1)
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), known)
