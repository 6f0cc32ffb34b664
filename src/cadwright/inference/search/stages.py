"""The stages of a search after its start: each improves entries of the pool in place.

In: entries, objectives, the time left. Moving numbers (``refine``), mending by bodies and cuts
(``residual``), the fine grid, parts of a unit on the target itself, round numbers (``rounding``).
Not covered: where entries come from and in which order stages run (``search``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from cadwright.inference.search.budget import Budget
from cadwright.inference.search.cover import without_body
from cadwright.inference.search.evidence import Evidence
from cadwright.inference.search.objective import CellObjective, Objective
from cadwright.inference.search.pool import Entry, worth
from cadwright.inference.search.refine import refine
from cadwright.inference.search.residual import residual_edits
from cadwright.inference.search.rounding import NEAR, PRICE, rounded_numbers
from cadwright.inference.search.simpler_programs import simpler_programs
from cadwright.program.grammar import Program, numbers

KEEP = 4  # programs refined on the coarse grid
GOOD_COVER = 0.97  # a fit at which numbers read off a solid are taken as they are
HOPELESS = 0.012  # behind a good program by more than this, another is not refined
GOOD_ENOUGH = 0.9995  # a fit at which search stops
FRACTIONS = (1, 0.5, 0.25)  # last steps, in PROGRAM units
MOST_EDITS = 6  # residual edits one after the other
MOST_LOST = 0.02  # of the fit, by one simplification
NOISY_PRICE, NOISY_NEAR = 3e-4, 3.0  # see ``rounding``, of numbers that were read off a scan
SURE_PRICE = 1e-4  # of a number, where the fit is that of the solid itself
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


@dataclass(slots=True)
class Run:
    """Clock, random numbers and record of one search."""

    budget: Budget
    rng: np.random.Generator
    stages: Stages
    progress: Progress | None
    watch: Callable[[int, float], None] | None = None
    history: list[tuple[float, float]] = field(default_factory=list)

    def note(self, stage: str, score: float) -> None:
        """Record the best fit after a stage and tell those who watch."""
        elapsed = self.budget.now()
        if not self.history or score > self.history[-1][1]:
            self.history.append((elapsed, score))
        if self.watch is not None:
            self.watch(self.budget.tries, self.history[-1][1])
        if self.progress is not None:
            self.progress(stage, min(1.0, elapsed / self.budget.total_s))

    def refine(
        self,
        entry: Entry,
        objective: Objective,
        steps: tuple[float, ...],
        *,
        part: float,
        among: set[int] | None = None,
    ) -> None:
        """Move an entry's numbers, in place, for a part of the time left; see ``refine``."""
        entry.program, entry.score = refine(
            entry.program,
            objective,
            deadline=self.budget.share(part),
            rng=self.rng,
            steps=steps,
            among=among,
            now=self.budget.now,
        )


def by_fit(evidence: Evidence, pool: list[Entry], run: Run) -> list[Entry]:
    """The best first, by all that is known of the target; scores stay those of cells."""
    if evidence.sharp or len(pool) < 2 or run.budget.left() < LEAST_TIME_S:
        return sorted(pool, key=lambda entry: -entry.value)
    fits = [
        worth(one.program, evidence.fit(one.program, one.score), price=evidence.price)
        for one in pool
    ]
    order = sorted(range(len(pool)), key=lambda k: -fits[k])
    return [pool[k] for k in order]


def move_numbers(evidence: Evidence, pool: list[Entry], coarse: CellObjective, run: Run) -> None:
    """Refine the pool's numbers on coarse cells, unless they are better already or hopeless."""
    best = pool[0]
    for k, entry in enumerate(pool):
        behind = best.score >= GOOD_COVER and entry.value < best.value - HOPELESS
        if (entry.from_slices and behind) or _is_right(evidence, entry):
            continue
        run.refine(entry, coarse, (8, 4, 2), part=0.3 / (KEEP - k))
        entry.read_off = False
        run.note("refine", entry.score)
        best = max(best, entry, key=lambda one: one.value)


def _is_right(evidence: Evidence, entry: Entry) -> bool:
    """Whether its numbers were read off a solid and fit: cells could only make them worse."""
    return evidence.sharp and entry.read_off and entry.score >= GOOD_COVER


def mend(
    evidence: Evidence, entry: Entry, objective: CellObjective, run: Run, *, part: float
) -> None:
    """Add, cut and drop bodies, in place, while that pays by cells and by the solid itself."""
    before = replace(entry)
    _mend_cells(entry, objective, run, part=part, only_new=_is_right(evidence, entry))
    if evidence.sharp and entry.program is not before.program:
        exact = [replace(one, score=evidence.last.score(one.program)) for one in (before, entry)]
        if exact[0].value >= exact[1].value:
            entry.program, entry.score = before.program, before.score


def _mend_cells(
    entry: Entry, objective: CellObjective, run: Run, *, part: float, only_new: bool
) -> None:
    """As cells see it; ``only_new`` moves only the numbers of what was added."""
    deadline = run.budget.share(part)
    for _ in range(MOST_EDITS):
        best = entry
        for program in residual_edits(entry.program, objective.cells):
            if run.budget.now() >= deadline:
                break
            tried = replace(entry, program=program, score=objective.score(program))
            if tried.value > best.value + LEAST_GAIN and objective.is_sound(program):
                best = tried
        run.budget.charge(0.05)
        if best is entry:
            return
        new = _new_numbers(best.program, entry.program) if only_new else None
        entry.program, entry.score = best.program, best.score
        run.refine(entry, objective, (4, 2), part=0.1, among=new)
        run.note("mend", entry.score)
        if run.budget.now() >= deadline:
            return


def _new_numbers(program: Program, before: Program) -> set[int]:
    """Indices of the numbers that one more body than ``before`` has brought, its plane included."""
    if len(program.bodies) <= len(before.bodies):
        return set()
    total, own = (sum(1 for _ in numbers(part)) for part in (program, program.bodies[-1]))
    planes = range(3 * len(before.planes), 3 * len(program.planes))
    return {*planes, *range(total - own, total)}


def polish(evidence: Evidence, pool: list[Entry], run: Run) -> Entry:
    """Refine on the fine grid, mend and drop bodies once more, take the better of two."""
    fine, middle = CellObjective(evidence.fine), CellObjective(evidence.middle)
    run.budget.watch(fine)
    run.budget.watch(middle)
    judge = evidence.last if evidence.sharp else fine
    for entry in pool:
        entry.score = judge.score(entry.program)
    best = pool[0]
    for k, entry in enumerate(by_fit(evidence, pool, run)):
        if k and evidence.sharp and entry.value < best.value - HOPELESS:
            break
        _drop_bodies(entry, judge)
        if not evidence.sharp:
            simplify(evidence, entry, fine, run, part=0.15)
        if not _is_right(evidence, entry):
            run.refine(entry, fine, (2, 1), part=0.3 + 0.1 * k)
        if run.stages.residual and run.budget.left() > LEAST_TIME_S:
            entry.score = middle.score(entry.program)
            mend(evidence, entry, middle, run, part=0.3)
        entry.score = judge.score(entry.program)
        run.note("polish", entry.score)
        best = _better(evidence, best, entry, run) if k else entry
        if entry.score >= GOOD_ENOUGH:
            break
    return best


def simplify(
    evidence: Evidence, entry: Entry, objective: CellObjective, run: Run, *, part: float
) -> None:
    """Leave out, in place, what noise put into sketches, while the length saved is worth it."""
    deadline = run.budget.share(part)

    def value(program: Program, score: float) -> float:
        return worth(program, evidence.fit(program, score), price=evidence.price)

    best, gained = value(entry.program, entry.score), True
    while gained:
        gained = False
        for program in simpler_programs(entry.program):
            if run.budget.now() >= deadline:
                return
            score = objective.score(program)
            if score < entry.score - MOST_LOST or not objective.is_sound(program):
                continue
            found = value(program, score)
            if found > best:
                entry.program, entry.score, best, gained = program, score, found, True
                run.note("simplify", score)
                break


def _better(evidence: Evidence, one: Entry, other: Entry, run: Run) -> Entry:
    """Of two polished programs the better; where the fit is sure, length counts for less."""
    if not evidence.sharp:
        return by_fit(evidence, [one, other], run)[0]
    return max(one, other, key=lambda entry: worth(entry.program, entry.score, price=SURE_PRICE))


def finish(evidence: Evidence, entry: Entry, run: Run) -> None:
    """Move numbers, in place, by parts of a unit, then make them round."""
    last = evidence.last
    entry.score = last.score(entry.program)
    for steps in (FRACTIONS[1:], FRACTIONS) if evidence.sharp else (FRACTIONS,):
        if entry.score < GOOD_ENOUGH:
            run.refine(entry, last, steps, part=0.85 if evidence.sharp else 0.7)
    run.note("between integers", entry.score)
    if run.stages.rounding:
        price, near = (PRICE, NEAR) if evidence.sharp else (NOISY_PRICE, NOISY_NEAR)
        entry.program, entry.score = rounded_numbers(
            entry.program,
            entry.score,
            last,
            deadline=run.budget.total_s,
            price=price,
            near=near,
            now=run.budget.now,
        )
        run.note("rounding", entry.score)


def _drop_bodies(entry: Entry, objective: Objective) -> None:
    """Remove, in place, bodies whose absence costs less than their length is worth."""
    k = 0
    while len(entry.program.bodies) > 1 and k < len(entry.program.bodies):
        program = without_body(entry.program, k)
        shorter = replace(entry, program=program, score=0.0)
        if program.bodies[0].mode == "a":
            shorter.score = objective.score(program)
        if shorter.value > entry.value:
            entry.program, entry.score = shorter.program, shorter.score
        else:
            k += 1
