"""Candidates and a target -> the best program that can be found in the time given.

Stages: bodies read off the target's slices, turned profiles and cut rims among them, complete or
replace what the model decoded (``slices``, ``turned``, ``rims``, ``covers``); the numbers of the
best few are moved on a coarse grid (``refine``), unless they were read off a solid more finely;
what is missing or too much is mended by bodies and cuts (``residual``); the winner's numbers are
moved on a fine grid and then by parts of a unit on the solid or the points themselves; at last
they are made round where that costs nothing (``rounding``). Surfaces and clouds go the same way,
by an estimate of their inside (``estimate``). Anytime: stopped early, it returns the best so far.
Not covered: decoding before it, the exact build after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from cadwright.inference.budget import Budget
from cadwright.inference.cover import Block, proposals_to_blocks, without_body
from cadwright.inference.covers import covers, extra_covers
from cadwright.inference.evidence import (
    MANY_FACES,
    Evidence,
    ScanEvidence,
    SearchTarget,
    SolidEvidence,
)
from cadwright.inference.objective import CellObjective, Objective
from cadwright.inference.pool import Entry, score_all, worth
from cadwright.inference.refine import refine
from cadwright.inference.residual import residual_edits
from cadwright.inference.rounding import rounded_numbers
from cadwright.program.grammar import Program

__all__ = ["ALL_STAGES", "MANY_FACES", "SearchResult", "SearchTarget", "Stages", "search"]

KEEP = 4  # programs refined on the coarse grid
GOOD_COVER = 0.97  # a fit at which no more slices are made
HOPELESS = 0.012  # behind a good program by more than this, another is not refined
GOOD_ENOUGH = 0.9995  # a fit at which search stops
FRACTIONS = (1, 0.5, 0.25)  # last steps, in PROGRAM units
MOST_EDITS = 6  # residual edits one after the other
LEAST_GAIN = 2e-4  # of an edit, its length paid
LEAST_TIME_S = 0.05  # below this a stage is not begun

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Stages:
    """Which stages run; benchmarks switch them off one at a time."""

    slices: bool = True
    numbers: bool = True
    residual: bool = True
    polish: bool = True
    between: bool = True
    rounding: bool = True


ALL_STAGES = Stages()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The winner and how it was found.

    Attributes:
        score: fit in [0, 1] by the objective used last; volume IoU for solids.
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
class _Run:
    """Clock, random numbers and record of one search."""

    budget: Budget
    rng: np.random.Generator
    stages: Stages
    progress: Progress | None
    watch: Callable[[int, float], None] | None = None
    history: list[tuple[float, float]] = field(default_factory=list)

    def note(self, stage: str, score: float) -> None:
        elapsed = self.budget.now()
        if not self.history or score > self.history[-1][1]:
            self.history.append((elapsed, score))
        if self.watch is not None:
            self.watch(self.budget.tries, self.history[-1][1])
        if self.progress is not None:
            self.progress(stage, min(1.0, elapsed / self.budget.total_s))

    def refine(
        self, entry: Entry, objective: Objective, steps: tuple[float, ...], *, part: float
    ) -> None:
        """Move an entry's numbers, in place, for a part of the time left."""
        entry.program, entry.score = refine(
            entry.program,
            objective,
            deadline=self.budget.share(part),
            rng=self.rng,
            steps=steps,
            now=self.budget.now,
        )


def search(
    target: SearchTarget,
    programs: list[Program],
    budget_s: float,
    seed: int,
    progress: Progress | None = None,
    *,
    stages: Stages = ALL_STAGES,
    clock: Callable[[], float] | None = time.perf_counter,
    watch: Callable[[int, float], None] | None = None,
) -> SearchResult | None:
    """Improve on candidates within a time budget.

    Args:
        target: what to fit, PROGRAM frame.
        programs: candidates, PROGRAM frame; may be empty.
        budget_s: seconds; the stages share it out and stop early where they converge.
        seed: fixes the order of tries.
        progress: called with a stage's name and the share of time used.
        stages: which ones run.
        clock: seconds; None counts tries at their usual price instead, so that the same seed
            gives the same program on every machine.
        watch: called with the programs tried so far and the best fit.

    Returns:
        The best program; None if there was no candidate and the slices gave none.
    """
    budget = Budget(budget_s, clock is not None, clock or time.perf_counter)
    run = _Run(budget, np.random.default_rng(seed), stages, progress, watch)
    evidence: Evidence
    if target.solid is not None:
        evidence = SolidEvidence(target.solid)
    else:
        evidence = ScanEvidence(target, seed=seed)
        budget.charge(1.0)
    found = _search(evidence, list(dict.fromkeys(programs)), run)
    if found is None:
        return None
    best, start_score = found
    return SearchResult(
        best.program,
        best.score,
        start_score,
        budget.tries,
        budget.now(),
        tuple(run.history),
        best.from_slices,
    )


def _search(evidence: Evidence, programs: list[Program], run: _Run) -> tuple[Entry, float] | None:
    coarse = CellObjective(evidence.coarse)
    run.budget.watch(coarse)
    pool = score_all(programs, coarse)
    start_score = pool[0].score if pool else 0.0
    run.note("rank", start_score)
    if run.stages.slices and (not pool or run.budget.left() > LEAST_TIME_S):
        pool = _with_slices(evidence, pool, coarse, run)
    if not pool:
        return None
    pool = _by_fit(evidence, pool, run)
    if run.stages.numbers:
        best = pool[0]
        for k, entry in enumerate(pool[:KEEP]):
            behind = entry.value < best.value - HOPELESS
            if entry.from_slices and best.score >= GOOD_COVER and behind:
                continue
            if evidence.sharp and entry.from_slices and entry.score >= GOOD_COVER:
                continue  # its numbers are better than these cells are fine
            run.refine(entry, coarse, (8, 4, 2), part=0.3 / (KEEP - k))
            run.note("refine", entry.score)
            best = max(best, entry, key=lambda one: one.value)
    pool = _by_fit(evidence, pool[:KEEP], run)[:2]
    if run.stages.residual:
        for k, entry in enumerate(pool):
            _mend(entry, coarse, run, part=0.25 / (len(pool) - k))
    best = pool[0]
    if run.stages.polish and run.budget.left() > LEAST_TIME_S:
        best = _polish(evidence, pool, run)
    if run.stages.between and run.budget.left() > LEAST_TIME_S:
        _finish(evidence, best, run)
    return best, start_score


def _by_fit(evidence: Evidence, pool: list[Entry], run: _Run) -> list[Entry]:
    """The best first, by all that is known of the target; scores stay those of cells."""
    if evidence.sharp or len(pool) < 2 or run.budget.left() < LEAST_TIME_S:
        return sorted(pool, key=lambda entry: -entry.value)
    run.budget.charge(0.006 * len(pool))
    fits = [worth(one.program, evidence.fit(one.program, one.score)) for one in pool]
    order = sorted(range(len(pool)), key=lambda k: -fits[k])
    return [pool[k] for k in order]


def _with_slices(
    evidence: Evidence, pool: list[Entry], objective: CellObjective, run: _Run
) -> list[Entry]:
    """Add programs made of, or completed with, bodies read off the target's slices."""
    deadline = run.budget.share(0.4)
    grid = objective.cells.grid
    blocks: list[Block] = []
    found: list[Entry] = []
    for more in (False, True):
        if more and max((entry.score for entry in found), default=0.0) >= GOOD_COVER:
            break
        proposals = evidence.proposals(more=more)
        blocks += proposals_to_blocks(proposals, grid, over=lambda: run.budget.now() > deadline)
        run.budget.charge(0.002 * len(blocks))
        found += covers(pool[:KEEP], blocks, objective)
        if not more:
            found += extra_covers(evidence, blocks, objective, run.budget)
    pool = sorted(pool + found, key=lambda entry: -entry.value)
    if pool:
        run.note("slices", pool[0].score)
    return pool


def _mend(entry: Entry, objective: CellObjective, run: _Run, *, part: float) -> None:
    """Add, cut and drop bodies, in place, one after the other while that pays."""
    deadline = run.budget.share(part)
    for _ in range(MOST_EDITS):
        best = entry
        for program in residual_edits(entry.program, objective.cells):
            if run.budget.now() >= deadline:
                break
            tried = Entry(program, objective.score(program), entry.from_slices)
            if tried.value > best.value + LEAST_GAIN and objective.is_sound(program):
                best = tried
        run.budget.charge(0.05)
        if best is entry:
            return
        entry.program, entry.score = best.program, best.score
        run.refine(entry, objective, (4, 2), part=0.1)
        run.note("mend", entry.score)
        if run.budget.now() >= deadline:
            return


def _polish(evidence: Evidence, pool: list[Entry], run: _Run) -> Entry:
    """Refine on the fine grid, drop bodies that bring nothing, take the better of two."""
    fine, middle = CellObjective(evidence.fine), CellObjective(evidence.middle)
    run.budget.watch(fine)
    run.budget.watch(middle)
    for entry in pool:
        entry.score = fine.score(entry.program)
    best = pool[0]
    for k, entry in enumerate(_by_fit(evidence, pool, run)):
        if k and evidence.sharp and entry.value < best.value - HOPELESS:
            break
        _drop_bodies(entry, fine)
        read_off = evidence.sharp and entry.from_slices and entry.score >= GOOD_COVER
        run.refine(entry, fine, (2, 1), part=0.12 if read_off else 0.3 + 0.1 * k)
        if run.stages.residual and run.budget.left() > LEAST_TIME_S:
            entry.score = middle.score(entry.program)
            _mend(entry, middle, run, part=0.3)
            entry.score = fine.score(entry.program)
        run.note("polish", entry.score)
        best = _by_fit(evidence, [best, entry], run)[0] if k else entry
        if entry.score >= GOOD_ENOUGH:
            break
    return best


def _finish(evidence: Evidence, entry: Entry, run: _Run) -> None:
    """Move numbers, in place, by parts of a unit, then make them round."""
    last = evidence.last_objective()
    run.budget.watch(last)
    for steps in (FRACTIONS[1:], FRACTIONS) if evidence.sharp else (FRACTIONS,):
        run.refine(entry, last, steps, part=0.85)
    run.note("between integers", entry.score)
    if run.stages.rounding:
        entry.program, entry.score = rounded_numbers(
            entry.program, entry.score, last, deadline=run.budget.total_s, now=run.budget.now
        )
        run.note("rounding", entry.score)


def _drop_bodies(entry: Entry, objective: Objective) -> None:
    """Remove, in place, bodies whose absence costs less than their length is worth."""
    k = 0
    while len(entry.program.bodies) > 1 and k < len(entry.program.bodies):
        program = without_body(entry.program, k)
        shorter = Entry(program, 0.0, entry.from_slices)
        if program.bodies[0].mode == "a":
            shorter.score = objective.score(program)
        if shorter.value > entry.value:
            entry.program, entry.score = shorter.program, shorter.score
        else:
            k += 1
