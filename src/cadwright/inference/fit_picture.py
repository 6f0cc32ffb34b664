"""Candidates -> the same candidates with the proportions that the picture shows.

In: candidates for a picture, ranked by it. Out: each of the best also with its bounds moved to
where its drawing agrees best, PROGRAM frame: the longest side 200 and the centre at 0, which
holds for every program of the dialect and needs no trying, and the other two sides by descent on
the ranking's fit, since a picture does tell proportions. Not covered: numbers moved singly.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from cadwright.inference.candidates import Candidate, with_better
from cadwright.inference.fit_bounds import fit_bounds
from cadwright.inference.ranking import PictureRanking
from cadwright.program.grammar import Program
from cadwright.types import FloatArray, Mesh

KEEP = 3  # candidates that are drawn again and again, 17 ms each time
FACTORS = (1.25, 1.1, 1.04)  # of one side, coarse to fine
GAIN = 1e-4  # of the fit, below which a step is not taken
LONGEST = 200.0  # PROGRAM units, of every part that a program makes
THINNEST = 2.0  # PROGRAM units


def with_proportions_fitted(
    ranked: Sequence[Candidate], ranking: PictureRanking
) -> list[Candidate]:
    """Give the best candidates the proportions shown, where they then agree better.

    Args:
        ranked: candidates of one picture, the best first.
        ranking: of that picture.
    Returns:
        The candidates, the best first, each program once.
    """
    best = ranked[:KEEP]

    def change(one: Candidate) -> Program | None:
        if one not in best:
            return None
        extents = descend(one.mesh, ranking.fit)
        return fit_bounds(one.program, one.mesh.bounds, np.stack([-extents / 2, extents / 2]))

    # A fit knows no place and no size, so of two that agree the one in its place is taken.
    return with_better(ranked, ranking, change, loss=GAIN)


def descend(mesh: Mesh, fit: Callable[[Mesh], float]) -> FloatArray:
    """Sides of the bounding box under which a solid fits best.

    Args:
        mesh: any frame.
        fit: of a mesh, larger is better; it shall not depend on size and place.
    Returns:
        (3,) PROGRAM units, the longest 200.
    """
    extents = _longest_whole(mesh.bounds[1] - mesh.bounds[0])
    best = fit(mesh)
    for factor in FACTORS:
        improved = True
        while improved:
            improved = False
            for axis, by in itertools.product(range(3), (factor, 1 / factor)):
                tried = extents.copy()
                tried[axis] *= by
                tried = _longest_whole(tried)
                value = fit(_stretched(mesh, tried))
                if value > best + GAIN:
                    best, extents, improved = value, tried, True
    return extents


def _longest_whole(extents: FloatArray) -> FloatArray:
    return np.maximum(extents * (LONGEST / extents.max()), THINNEST)


def _stretched(mesh: Mesh, extents: FloatArray) -> Mesh:
    low, high = mesh.bounds
    return Mesh((mesh.vertices - (low + high) / 2) * (extents / (high - low)), mesh.faces)
