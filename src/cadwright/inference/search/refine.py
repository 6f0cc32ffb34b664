"""Numeric refinement: move a program's handles while the fit improves.

In: a program, an objective, a deadline. Out: a program of the same structure
that fits at least as well. Greedy, anytime, and the same for the same seed
unless the deadline cuts it short.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cadwright.inference.search.handles import Handle, program_to_handles
from cadwright.inference.search.objective import Objective
from cadwright.inference.search.template import Template
from cadwright.program.grammar import Program, sizes_are_positive, tidy

STEPS = (16, 8, 4, 2, 1)  # PROGRAM units, coarse to fine
LARGEST = 400


@dataclass
class _State:
    """The best program so far, and what it takes to change it."""

    program: Program
    score: float
    objective: Objective
    template: Template

    def climb(self, handle: Handle, step: float) -> None:
        """Move one handle up or down by ``step`` for as long as that helps."""
        if not self._advance(handle, step):
            self._advance(handle, -step)

    def _advance(self, handle: Handle, distance: float) -> bool:
        gained = False
        while True:
            values = self.template.values.copy()
            for index, sign in handle:
                values[index] = tidy(values[index] + sign * distance)
            if any(abs(values[index]) > LARGEST for index, _ in handle):
                return gained
            moved = self.template.changed([index for index, _ in handle], values)
            if not sizes_are_positive(moved):
                return gained
            score = self.objective.score(moved)
            if score <= self.score + 1e-9 or not self.objective.is_sound(moved):
                return gained
            self.program, self.score, gained = moved, score, True
            self.template.keep(moved, values)


def refine(
    program: Program,
    objective: Objective,
    *,
    deadline: float,
    rng: np.random.Generator,
    steps: Sequence[float] = STEPS,
    among: set[int] | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> tuple[Program, float]:
    """Improve a program's numbers.

    Args:
        program: where to start, PROGRAM frame.
        objective: what to fit.
        rng: shuffles the order in which handles are tried.
        deadline: value of ``now()`` at which to stop.
        steps: sizes of the moves tried, in this order; each until no handle gains.
        among: indices of the only numbers that may move; None for all.
        now: the clock.

    Returns:
        The best program found and its score.
    """
    state = _State(program, objective.score(program), objective, Template(program))
    for step in steps:
        gained = True
        while gained:
            before = state.score
            handles = program_to_handles(state.program, straight=step < 1)
            if among is not None:
                handles = [one for one in handles if all(index in among for index, _ in one)]
            for k in rng.permutation(len(handles)):
                if now() >= deadline:
                    return state.program, state.score
                state.climb(handles[k], step)
            gained = state.score > before + 1e-4
    return state.program, state.score
