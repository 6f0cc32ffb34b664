"""Where a part, or a piece of it, may have been turned on a lathe: axes of revolution.

In: places of a surface with their normals and areas. Out: axes along x, y or z. The normal of a
turned surface runs through its axis: seen along the axis, normals are lines, and where the lines
of many directions cross is where the axis stands. Cylinders are not looked for: only axes with
cones, balls or rings about them are given. Not covered: the profiles (``turned``), oblique axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cadwright.types import FloatArray

NUM_PAIRS = 3000  # of lines, whose crossings are counted
BIN = 2.0  # PROGRAM units, of the squares in which they are
ACROSS = 0.15  # least part of a normal across the axis, for its line to have a direction
SLANT = 0.03  # least part of a normal along the axis, less of which is a cylinder
OFF, OFF_TURN = 0.6, 0.07  # how far from the axis a line may pass: units, and share of its length
DIRECTIONS = 12  # sectors into which normals about an axis are sorted
LEAST_DIRECTIONS = 9
LEAST_SHARE = 0.01  # of the area, that must slant about an axis
MOST_AXES = 3  # along each of x, y and z
APART = 4.0  # PROGRAM units between two of them
BOUNDS = 120.0


@dataclass(frozen=True, slots=True)
class TurningAxis:
    """A line along x, y or z.

    Attributes:
        axis: 0, 1, 2 for x, y, z.
        at: where it stands, along the next two axes in cyclic order, PROGRAM frame.
        share: of the whole area, that is turned about it and is neither flat nor a cylinder.
    """

    axis: int
    at: tuple[float, float]
    share: float


def turning_axes(
    points: FloatArray, normals: FloatArray, areas: FloatArray, *, slack: float = 0.0, seed: int = 0
) -> list[TurningAxis]:
    """Axes about which some of a surface is turned, those of most area first.

    Args:
        points: (N, 3) PROGRAM frame.
        normals: (N, 3) unit, of either sign.
        areas: (N,) what each stands for.
        slack: how far noise moves points and the lines along their normals.
        seed: of the pairs of lines that are crossed.
    """
    rng = np.random.default_rng([seed, 23])
    total = float(areas.sum())
    found: list[TurningAxis] = []
    for axis in range(3):
        within = [(axis + 1) % 3, (axis + 2) % 3]
        along = np.abs(normals[:, axis])
        least, most = SLANT + 0.1 * min(slack, 2.0), np.sqrt(1 - ACROSS**2)
        slants = (along > least) & (along < most) & (areas > 0)
        if areas[slants].sum() < LEAST_SHARE * total:
            continue
        lines = _Lines(points[slants][:, within], normals[slants][:, within], areas[slants])
        for at, area in lines.crossings(rng, slack):
            if area >= LEAST_SHARE * total:
                found.append(TurningAxis(axis, at, area / total))
    return sorted(found, key=lambda one: -one.share)


class _Lines:
    """Normals seen along an axis."""

    def __init__(self, places: FloatArray, directions: FloatArray, areas: FloatArray) -> None:
        length = np.linalg.norm(directions, axis=1, keepdims=True)
        self.places, self.directions, self.areas = places, directions / length, areas

    def crossings(
        self, rng: np.random.Generator, slack: float
    ) -> list[tuple[tuple[float, float], float]]:
        """Where lines of many directions cross, and the area that they stand for."""
        found: list[tuple[tuple[float, float], float]] = []
        for start in self._peaks(rng):
            at = start
            for _ in range(3):
                chosen = self._through(at, slack)
                if chosen.sum() < 3:
                    break
                at = self._nearest(chosen)
            chosen = self._through(at, slack)
            apart = all(np.hypot(at[0] - x, at[1] - y) >= APART for (x, y), _ in found)
            if apart and self._num_directions(chosen) >= LEAST_DIRECTIONS:
                found.append(((float(at[0]), float(at[1])), float(self.areas[chosen].sum())))
        return found

    def _peaks(self, rng: np.random.Generator) -> list[FloatArray]:
        """The middle of the part, and where most pairs of lines cross."""
        chances = self.areas / self.areas.sum()
        first, second = rng.choice(len(chances), (2, NUM_PAIRS), p=chances)
        a, b = self.directions[first], self.directions[second]
        cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
        kept = np.abs(cross) > 0.3
        gap = self.places[second] - self.places[first]
        reach = (gap[:, 0] * b[:, 1] - gap[:, 1] * b[:, 0])[kept] / cross[kept]
        meet = self.places[first][kept] + a[kept] * reach[:, None]
        meet = meet[np.abs(meet).max(axis=1, initial=0.0) < BOUNDS]
        middle = (self.places.min(axis=0) + self.places.max(axis=0)) / 2
        if not len(meet):
            return [middle]
        cells, counts = np.unique(np.floor(meet / BIN), axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")[: 2 * MOST_AXES]
        return [middle, *((cells[order] + 0.5) * BIN)][: 2 * MOST_AXES]

    def _through(self, at: FloatArray, slack: float) -> NDArray[np.bool_]:
        gap = self.places - at
        miss = np.abs(gap[:, 0] * self.directions[:, 1] - gap[:, 1] * self.directions[:, 0])
        away = np.hypot(gap[:, 0], gap[:, 1])
        return np.asarray(miss <= OFF + slack + (OFF_TURN + 0.05 * slack) * away)

    def _nearest(self, chosen: NDArray[np.bool_]) -> FloatArray:
        """The point with the least squared distance from some of the lines."""
        x, y = self.directions[chosen].T
        across = np.stack([y, -x], axis=1)
        weight = np.sqrt(self.areas[chosen])
        wanted = (across * self.places[chosen]).sum(axis=1)
        solution, *_ = np.linalg.lstsq(across * weight[:, None], wanted * weight, rcond=None)
        return np.asarray(solution)

    def _num_directions(self, chosen: NDArray[np.bool_]) -> int:
        turn = np.arctan2(self.directions[chosen, 1], self.directions[chosen, 0])
        sector = np.floor(turn / (2 * np.pi) * DIRECTIONS).astype(int) % DIRECTIONS
        return len(np.unique(sector))
