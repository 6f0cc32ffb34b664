"""Candidates -> the same candidates with their flat faces at the heights of the target's.

In: ranked candidates and a target (PROGRAM frame). Out: candidates whose coordinates were moved by
one growing map along each axis, which takes the levels at which the candidate has faces across
that axis to levels at which the target has some; kept where the candidate then fits better.
Levels are read off, not tried: a decoded part has its faces in the right order long before they
stand at the right place. Not covered: coordinates that are no level of a face (search).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from cadwright.geometry.levels import Levels, mesh_to_levels, shape_to_levels
from cadwright.geometry.mesh_io import Shape
from cadwright.inference.candidates import Candidate, Scorer, each_once
from cadwright.inference.warp import AxisMap, NotWarpable, warp_program
from cadwright.program.grammar import Program
from cadwright.types import FloatArray

# Units. All candidates by the first reach, then the best few by several until nothing helps.
FIRST_REACH, REACHES = 30.0, (60.0, 25.0, 10.0)
BEST_FEW, MOST_ROUNDS = 6, 6
FACES_COMPARED, FEWEST_TRIES = 1_000_000, 16  # of the target, over all tries: some seconds
# along which axes levels are moved: all, or one
CHOICES = ((True, True, True), (True, False, False), (False, True, False), (False, False, True))


def with_levels_fitted(
    ranked: Sequence[Candidate], scorer: Scorer, target: Shape, *, seed: int
) -> list[Candidate]:
    """Put each candidate's levels on the target's where that fits better.

    Args:
        ranked: candidates of one target, the best first.
        scorer: of that target.
        target: PROGRAM frame. Against very many faces a comparison is slow, so fewer are made.
        seed: chooses the points of a large cloud.
    Returns:
        The candidates, the best first, each program once.
    """
    num_faces = 1 if target.mesh is None else len(target.mesh.faces)
    tries = max(FACES_COMPARED // num_faces, FEWEST_TRIES)
    fitter = _Fitter(scorer, shape_to_levels(target, seed=seed), tries)
    fitted = [fitter.improved(one, (FIRST_REACH,)) for one in ranked]
    order = sorted(range(len(fitted)), key=lambda k: -fitted[k].fit)
    for k in order[:BEST_FEW]:
        for _ in range(MOST_ROUNDS):
            before, fitted[k] = fitted[k], fitter.improved(fitted[k], REACHES)
            if fitted[k] is before:
                break
    return scorer.ranked(each_once(fitted))


@dataclass
class _Fitter:
    """One target's scorer and levels, and how many programs may still be built."""

    scorer: Scorer
    wanted: Sequence[Levels]
    tries: int

    def improved(self, one: Candidate, reaches: Sequence[float]) -> Candidate:
        """The best of a candidate and of what it becomes with its levels on those wanted."""
        best, seen = one, {one.program}
        for program in fit_levels(one, self.wanted, reaches=reaches):
            if program in seen or not self.tries:
                continue
            seen.add(program)
            self.tries -= 1
            other = self.scorer.candidate(program, one.source)
            if isinstance(other, Candidate) and other.fit > best.fit:
                best = other
        return best


def fit_levels(
    one: Candidate, wanted: Sequence[Levels], *, reaches: Sequence[float]
) -> Iterator[Program]:
    """Programs with a candidate's levels on those wanted, along all axes or along one.

    Args:
        one: PROGRAM frame.
        wanted: along x, y and z.
        reaches: how far a level may be moved, units; programs for each in turn.
    """
    mine = mesh_to_levels(one.mesh)
    for reach in reaches:
        pairs = zip(mine, wanted, strict=True)
        moved = [_piecewise(match_levels(have, want, reach=reach)) for have, want in pairs]
        for choice in CHOICES:
            x, y, z = (to if use else _stay for to, use in zip(moved, choice, strict=True))
            try:
                yield warp_program(one.program, (x, y, z))
            except NotWarpable:
                return


def match_levels(have: Levels, want: Levels, *, reach: float) -> FloatArray:
    """Pair levels in their order, so that the areas that then lie together are largest.

    A pair is worth the area both have on the same side of the face, less the further they lie
    apart; nothing from ``reach`` on. The best pairing is found by dynamic programming, as in
    sequence alignment.

    Returns:
        (K, 2) places had and wanted, both growing.
    """
    near = 1 - np.abs(have.places[:, None] - want.places) / reach
    worth = np.minimum(have.areas[:, None], want.areas[None]).sum(axis=2) * near.clip(min=0.0)
    best = np.zeros((len(have.places) + 1, len(want.places) + 1))
    for i, j in product(range(len(have.places)), range(len(want.places))):
        best[i + 1, j + 1] = max(best[i, j + 1], best[i + 1, j], best[i, j] + worth[i, j])
    i, j = len(have.places), len(want.places)
    pairs: list[tuple[float, float]] = []
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((have.places[i], want.places[j]))
    return np.array(pairs[::-1]).reshape(-1, 2)


def _piecewise(pairs: FloatArray) -> AxisMap:
    """The map through all pairs, straight between them and a shift beyond."""
    if not len(pairs):
        return _stay
    had, wanted = pairs.T

    def move(coordinate: float) -> float:
        beyond = min(coordinate - had[0], 0.0) + max(coordinate - had[-1], 0.0)
        return float(np.interp(coordinate, had, wanted)) + beyond

    return move


def _stay(coordinate: float) -> float:
    return coordinate
