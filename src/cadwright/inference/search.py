"""Candidates and a target -> the best program that can be found in the time given.

A solid is searched in passes: bodies read off its slices complete or
replace what the model decoded (``slices``, ``cover``); the numbers of the best
few are moved on a coarse grid; the winner's on a fine one and then on the solids
themselves, by parts of a unit; bodies that bring nothing are dropped. A surface
or point cloud has no inside, so there only the numbers are moved. Anytime:
stopped early, it returns the best so far.
Not covered: decoding before it, the exact build after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import manifold3d as m3
import numpy as np

from cadwright.geometry.manifolds import mesh_to_manifold, unite_parts
from cadwright.geometry.mesh_io import Shape
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.inference.cover import (
    PRICE_OF_A_NUMBER,
    Block,
    cover,
    proposals_to_blocks,
    with_bodies,
    without_body,
)
from cadwright.inference.objective import (
    ExactObjective,
    Objective,
    SolidObjective,
    SurfaceObjective,
)
from cadwright.inference.refine import refine
from cadwright.inference.slices import propose_bodies
from cadwright.program.grammar import Program, numbers
from cadwright.program.program_to_voxels import program_to_voxels
from cadwright.types import FloatArray

COARSE, FINE = 64, 208  # cells a side
KEEP = 4  # programs refined on the coarse grid
CAUTIONS = (1.0, 4.0, 20.0)  # of covers from nothing, see ``cover``
GOOD_ENOUGH = 0.9995  # a fit at which search stops
FRACTIONS = (1, 0.5, 0.25)  # last steps, in PROGRAM units, on the solids themselves
UNIFORM_LEVELS = 8  # slices across targets whose planar faces say too little
MANY_FACES = 200_000  # larger targets are simplified before they are sliced
SIMPLIFY = 0.05  # PROGRAM units

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class SearchTarget:
    """What is searched for, PROGRAM frame; ``solid`` is None for surfaces and clouds.

    Attributes:
        solid: the target as a solid.
        points: (N, 3) float64 points on it.
    """

    solid: m3.Manifold | None
    points: FloatArray

    @classmethod
    def from_shape(cls, shape: Shape, *, seed: int = 0) -> SearchTarget:
        """Prepare a shape that is already in the PROGRAM frame."""
        if shape.mesh is None:
            assert shape.points is not None
            return cls(None, np.asarray(shape.points, dtype=np.float64))
        points = sample_surface(shape.mesh, 8192, np.random.default_rng(seed))
        if shape.kind != "solid":
            return cls(None, points)
        solid = unite_parts(mesh_to_manifold(shape.mesh))
        return cls(solid.simplify(SIMPLIFY) if solid.num_tri() > MANY_FACES else solid, points)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The winner and how it was found.

    Attributes:
        score: fit in [0, 1] on the finest grid used; volume IoU for solids.
        start_score: fit of the best candidate before search, 0 if there was none.
        tries: programs built and scored.
        history: (seconds, score) each time the best improved a stage.
        from_slices: whether the winner began without the model's candidates.
    """

    program: Program
    score: float
    start_score: float
    tries: int
    seconds: float
    history: tuple[tuple[float, float], ...]
    from_slices: bool


@dataclass(slots=True)
class _Entry:
    """A program in the pool."""

    program: Program
    score: float
    from_slices: bool

    @property
    def value(self) -> float:
        """Fit less the price of length: of two equal fits the shorter program wins."""
        return self.score - PRICE_OF_A_NUMBER * sum(1 for _ in numbers(self.program))


@dataclass(slots=True)
class _Run:
    """Clock, random numbers and record of one search."""

    start: float
    deadline: float
    rng: np.random.Generator
    progress: Progress | None
    history: list[tuple[float, float]] = field(default_factory=list)
    tries: int = 0

    def note(self, stage: str, score: float) -> None:
        elapsed = time.perf_counter() - self.start
        if not self.history or score > self.history[-1][1]:
            self.history.append((elapsed, score))
        if self.progress is not None:
            self.progress(stage, min(1.0, elapsed / (self.deadline - self.start)))

    def share(self, part: float) -> float:
        """The deadline of a stage that may use this part of the time left."""
        now = time.perf_counter()
        return now + part * max(0.0, self.deadline - now)


def search(
    target: SearchTarget,
    programs: list[Program],
    budget_s: float,
    seed: int,
    progress: Progress | None = None,
) -> SearchResult | None:
    """Improve on candidates within a time budget.

    Args:
        target: what to fit, PROGRAM frame.
        programs: candidates, PROGRAM frame; may be empty.
        budget_s: seconds; the stages share it out and stop early where they converge.
        seed: fixes the order of tries.
        progress: called with a stage's name and the share of time used.

    Returns:
        The best program; None if there was no candidate and the slices gave none.
    """
    start = time.perf_counter()
    run = _Run(start, start + budget_s, np.random.default_rng(seed), progress)
    unique = list(dict.fromkeys(programs))
    if target.solid is None:
        found = _search_surface(target, unique, run)
    else:
        found = _search_solid(target.solid, unique, run)
    if found is None:
        return None
    best, start_score = found
    return SearchResult(
        best.program,
        best.score,
        start_score,
        run.tries,
        time.perf_counter() - start,
        tuple(run.history),
        best.from_slices,
    )


def _search_surface(
    target: SearchTarget, programs: list[Program], run: _Run
) -> tuple[_Entry, float] | None:
    objective = SurfaceObjective(target.points, seed=0)
    pool = _score_all(programs, objective)
    if not pool:
        return None
    start_score = pool[0].score
    run.note("rank", start_score)
    for k, entry in enumerate(pool[:KEEP]):
        deadline = run.share(1 / (KEEP - k))
        entry.program, entry.score = refine(
            entry.program, objective, deadline=deadline, rng=run.rng, steps=(8, 4, 2, 1)
        )
        run.note("refine", entry.score)
    run.tries += objective.tries
    return max(pool, key=lambda entry: entry.value), start_score


def _score_all(programs: list[Program], objective: Objective) -> list[_Entry]:
    """Candidates that mean something, best first."""
    pool = [_Entry(program, objective.score(program), False) for program in programs]
    return sorted((entry for entry in pool if entry.score > 0), key=lambda entry: -entry.value)


def _search_solid(
    solid: m3.Manifold, programs: list[Program], run: _Run
) -> tuple[_Entry, float] | None:
    coarse = SolidObjective(solid, n=COARSE)
    pool = _score_all(programs, coarse)
    start_score = pool[0].score if pool else 0.0
    run.note("rank", start_score)
    pool = _with_slices(solid, pool, coarse, run)
    if not pool:
        return None
    for k, entry in enumerate(pool[:KEEP]):
        deadline = run.share(0.4 / (KEEP - k))
        entry.program, entry.score = refine(
            entry.program, coarse, deadline=deadline, rng=run.rng, steps=(8, 4, 2)
        )
        run.note("refine", entry.score)
    run.tries += coarse.tries
    pool = sorted(pool[:KEEP], key=lambda entry: -entry.value)[:2]
    return _polish(solid, pool, run), start_score


def _with_slices(
    solid: m3.Manifold, pool: list[_Entry], objective: SolidObjective, run: _Run
) -> list[_Entry]:
    """Add programs made of, or completed with, bodies read off the target's slices."""
    blocks = proposals_to_blocks(list(propose_bodies(solid)), objective.grid)
    found = _covers(pool, blocks, objective)
    if max((entry.score for entry in found), default=0.0) < 0.97:
        more = propose_bodies(solid, uniform_levels=UNIFORM_LEVELS)
        found += _covers(pool, blocks + proposals_to_blocks(list(more), objective.grid), objective)
    pool = sorted(pool + found, key=lambda entry: -entry.value)
    if pool:
        run.note("slices", pool[0].score)
    return pool


def _covers(pool: list[_Entry], blocks: list[Block], objective: SolidObjective) -> list[_Entry]:
    """Covers from nothing, and one on top of each of the best candidates."""
    starts: list[tuple[Program | None, float]] = [(None, caution) for caution in CAUTIONS]
    starts += [(entry.program, 1.0) for entry in pool[:KEEP]]
    found: dict[Program, _Entry] = {}
    for base, caution in starts:
        grid = objective.grid
        covered = grid.empty() if base is None else program_to_voxels(base, grid)
        chosen = cover(objective.target, blocks, covered, caution=caution)
        if chosen:
            program = with_bodies(base, chosen)
            if program not in found:
                found[program] = _Entry(program, objective.score(program), base is None)
    return list(found.values())


def _polish(solid: m3.Manifold, pool: list[_Entry], run: _Run) -> _Entry:
    """Refine on the fine grid, drop bodies that bring nothing, take the better of two."""
    fine = SolidObjective(solid, n=FINE)
    for entry in pool:
        entry.score = fine.score(entry.program)
    for k, entry in enumerate(pool):
        deadline = run.share(0.5 if k == 0 else 1.0)
        _drop_bodies(entry, fine)
        entry.program, entry.score = refine(
            entry.program, fine, deadline=deadline, rng=run.rng, steps=(2, 1)
        )
        run.note("polish", entry.score)
        if entry.score >= GOOD_ENOUGH:
            break
    run.tries += fine.tries
    best = max(pool, key=lambda entry: entry.value)
    _between_integers(solid, best, run)
    return best


def _between_integers(solid: m3.Manifold, entry: _Entry, run: _Run) -> None:
    """Move numbers, in place, by parts of a unit: no part in the world lies on our grid."""
    exact = ExactObjective(solid)
    entry.program, entry.score = refine(
        entry.program, exact, deadline=run.deadline, rng=run.rng, steps=FRACTIONS
    )
    run.tries += exact.tries
    run.note("between integers", entry.score)


def _drop_bodies(entry: _Entry, objective: SolidObjective) -> None:
    """Remove, in place, bodies whose absence costs less than their length is worth."""
    k = 0
    while len(entry.program.bodies) > 1 and k < len(entry.program.bodies):
        shorter = _Entry(without_body(entry.program, k), 0.0, entry.from_slices)
        shorter.score = objective.score(shorter.program)
        if shorter.value > entry.value:
            entry.program, entry.score = shorter.program, shorter.score
        else:
            k += 1
