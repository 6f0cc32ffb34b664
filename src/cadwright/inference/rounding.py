"""Numbers that fit -> rounder numbers that fit as well.

In: a program and the objective that it was fitted by. Out: the same structure with lengths put on
whole units, equal where they were nearly equal, and centres on zero where they were nearly there,
each change kept only if the fit suffers by less than a stated price. Not covered: the user's own
unit (``program.program_to_user``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from cadwright.inference.handles import program_to_handles
from cadwright.inference.objective import Objective
from cadwright.inference.template import Template
from cadwright.program.grammar import Number, Program, sizes_are_positive

PRICE = 3e-5  # fit that one number's roundness is worth
NEAR = 1.0  # PROGRAM units within which numbers may be made equal or whole


def rounded_numbers(
    program: Program,
    score: float,
    objective: Objective,
    *,
    deadline: float,
    now: Callable[[], float] = time.perf_counter,
) -> tuple[Program, float]:
    """Make numbers round where that costs less than ``PRICE`` each.

    Args:
        program: PROGRAM frame.
        score: its fit.
        objective: what says so.
        deadline: value of ``now()`` at which to stop.
        now: the clock.
    """
    template = Template(program)
    for indices, values in _suggestions(program, template):
        if now() >= deadline:
            break
        changed = template.changed(indices, values)
        if not sizes_are_positive(changed):
            continue
        fit = objective.score(changed)
        if fit >= score - PRICE and objective.is_sound(changed):
            program, score = changed, max(fit, score - PRICE)
            template.keep(changed, values)
    return program, objective.score(program)


def _suggestions(program: Program, template: Template) -> Iterator[tuple[list[int], list[Number]]]:
    """Changes to try, one after the other, each from the values kept so far."""
    for handle in program_to_handles(program):
        first, sign = handle[0]
        value = template.values[first]
        if value == round(value):
            continue
        shift = (round(value) - value) / sign
        values = template.values.copy()
        for index, weight in handle:
            moved = values[index] + weight * shift
            values[index] = int(moved) if moved == int(moved) else moved
        yield [index for index, _ in handle], values
    for index, value in enumerate(template.values):
        for other in sorted({abs(one) for one in template.values}):
            near = other if value > 0 else -other
            if 0 < abs(near - value) <= NEAR and near == round(near):
                values = template.values.copy()
                values[index] = near
                yield [index], values
                break
