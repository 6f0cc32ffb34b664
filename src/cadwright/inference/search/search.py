"""Candidates and a target -> the best program that can be found in the time given.

Stages: bodies read off the target's slices, turned profiles and cut rims among them, complete or
replace what the model decoded (``slices``, ``turned``, ``rims``, ``covers``); the numbers of the
best few are moved on a coarse grid (``refine``), unless they were read off a solid more finely;
what is missing or too much is mended by bodies and cuts (``residual``); the winner's numbers are
moved on a fine grid and then by parts of a unit on the solid or the points themselves; at last
they are made round where that costs nothing (``rounding``). Surfaces and clouds go the same way,
by an estimate of their inside (``estimate``), and lose the corners that noise gave them
(``simpler_programs``). Anytime: stopped early, it returns the best so far.
Not covered: decoding before it, the exact build after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cadwright.inference.search.budget import Budget
from cadwright.inference.search.cover import Block, in_order_of_use, proposals_to_blocks
from cadwright.inference.search.covers import covers, extra_covers
from cadwright.inference.search.evidence import (
    MANY_FACES,
    Evidence,
    ScanEvidence,
    SearchTarget,
    SolidEvidence,
)
from cadwright.inference.search.objective import CellObjective
from cadwright.inference.search.pool import Entry, score_all
from cadwright.inference.search.stages import (
    ALL_STAGES,
    GOOD_COVER,
    KEEP,
    LEAST_TIME_S,
    Progress,
    Run,
    Stages,
    by_fit,
    finish,
    mend,
    move_numbers,
    polish,
)
from cadwright.program.grammar import Program

__all__ = ["ALL_STAGES", "MANY_FACES", "SearchResult", "SearchTarget", "Stages", "search"]


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
    run = Run(budget, np.random.default_rng(seed), stages, progress, watch)
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
        in_order_of_use(best.program),
        best.score,
        start_score,
        budget.tries,
        budget.now(),
        tuple(run.history),
        best.from_slices,
    )


def _search(evidence: Evidence, programs: list[Program], run: Run) -> tuple[Entry, float] | None:
    coarse = CellObjective(evidence.coarse)
    run.budget.watch(coarse)
    run.budget.watch(evidence.last)
    pool = score_all(programs, coarse, price=evidence.price)
    start_score = pool[0].score if pool else 0.0
    run.note("rank", start_score)
    if run.stages.slices and (not pool or run.budget.left() > LEAST_TIME_S):
        pool = _with_slices(evidence, pool, coarse, run)
    if not pool:
        return None
    pool = by_fit(evidence, pool, run)[:KEEP]
    if run.stages.numbers:
        move_numbers(evidence, pool, coarse, run)
    pool = by_fit(evidence, pool, run)[:2]
    if run.stages.residual:
        for k, entry in enumerate(pool):
            mend(evidence, entry, coarse, run, part=0.25 / (len(pool) - k))
    best = pool[0]
    if run.stages.polish and run.budget.left() > LEAST_TIME_S:
        best = polish(evidence, pool, run)
    if run.stages.between and run.budget.left() > LEAST_TIME_S:
        finish(evidence, best, run)
    return best, start_score


def _with_slices(
    evidence: Evidence, pool: list[Entry], objective: CellObjective, run: Run
) -> list[Entry]:
    """Add programs made of, or completed with, bodies read off the target's slices."""
    deadline = run.budget.share(0.4)
    cells = objective.cells
    blocks: list[Block] = []
    found: list[Entry] = []
    for more in (False, True):
        if more and max((entry.score for entry in found), default=0.0) >= GOOD_COVER:
            break
        proposals = evidence.proposals(more=more)
        blocks += proposals_to_blocks(proposals, cells, over=lambda: run.budget.now() > deadline)
        run.budget.charge(0.002 * len(blocks))
        found += covers(pool[:KEEP], blocks, objective, price=evidence.price)
        if not more:
            found += extra_covers(evidence, blocks, objective, run.budget)
    pool = sorted(pool + found, key=lambda entry: -entry.value)
    if pool:
        run.note("slices", pool[0].score)
    return pool
