"""Numbers that fit -> rounder numbers that fit as well.

In: a program and the objective that it was fitted by. Out: the same structure with lengths put on
whole units, equal where they were nearly equal, and centres on zero where they were nearly there,
each change kept only if the fit suffers by less than a stated price. Not covered: the user's own
unit (``program.program_to_user``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

from cadwright.inference.search.handles import Handle, program_to_handles
from cadwright.inference.search.objective import Objective
from cadwright.inference.search.template import Template
from cadwright.program.grammar import Number, Program, sizes_are_positive, tidy

PRICE = 3e-5  # fit that one number's roundness is worth
NEAR = 1.0  # PROGRAM units within which numbers may be made equal

Change = tuple[list[int], list[Number]]  # indices of numbers, and all values after it


def rounded_numbers(
    program: Program,
    score: float,
    objective: Objective,
    *,
    deadline: float,
    price: float = PRICE,
    near: float = NEAR,
    now: Callable[[], float] = time.perf_counter,
) -> tuple[Program, float]:
    """Make numbers round, and equal to others, where that costs next to nothing.

    Args:
        program: PROGRAM frame.
        score: its fit.
        objective: what says so.
        deadline: value of ``now()`` at which to stop.
        price: what fit each number's roundness is worth.
        near: how far numbers may move to be equal, PROGRAM units.
        now: the clock.
    """
    template = Template(program)
    for indices, values in _suggestions(program, template, near):
        if now() >= deadline:
            break
        changed = template.changed(indices, values)
        if not sizes_are_positive(changed):
            continue
        fit = objective.score(changed)
        if fit >= score - price and objective.is_sound(changed):
            program, score = changed, max(fit, score - price)
            template.keep(changed, values)
    return program, objective.score(program)


def _suggestions(program: Program, template: Template, near: float) -> Iterator[Change]:
    """Changes to try, one after the other, each from the values kept so far."""
    handles = program_to_handles(program, straight=True)
    for handle in handles:
        first, sign = handle[0]
        value = template.values[first]
        if value != round(value):
            yield _moved(template, handle, (round(value) - value) / sign)
    for handle in handles:
        value = template.values[handle[0][0]]
        if any(sign != 1 or template.values[index] != value for index, sign in handle):
            continue  # not one length, but several that move together
        other = _like_others(template, value, near)
        if other is not None:
            yield _moved(template, handle, other - value)


def _moved(template: Template, handle: Handle, shift: float) -> Change:
    values = list(template.values)
    for index, sign in handle:
        values[index] = tidy(values[index] + sign * shift)
    return [index for index, _ in handle], values


def _like_others(template: Template, value: Number, near: float) -> float | None:
    """What to change a length to so that it equals another one, or its opposite."""
    sizes = Counter(abs(one) for one in template.values)
    others = [one for one in sizes if 0 < abs(one - abs(value)) <= near]
    if not others:
        return None
    best = min(others, key=lambda one: (one != round(one), -sizes[one], abs(one - abs(value))))
    if sizes[best] < sizes[abs(value)] and best != round(best):
        return None
    return best if value > 0 else -best
