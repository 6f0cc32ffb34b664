"""A candidate -> its program in the user's lengths, with numbers as a person would choose them.

In: a candidate, where it lies in the USER frame, and how well a solid fits. Out: the program with
numbers as round as they can be while it fits as well. First all numbers together, then one
coordinate after another: one that is off by a little more than the others should not keep all of
them from being round. Not covered: what round means (program.round_numbers).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cadwright.errors import GeometryError
from cadwright.geometry.frames import Placement, normalise
from cadwright.inference.candidates import Candidate
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_user import UserProgram, program_to_user
from cadwright.program.round_numbers import coordinates
from cadwright.types import Mesh

# Shares of the longest side by which faces may move to give round numbers, tried in this order,
ROUNDINGS = (0.001, 0.0003, 0.0001, 0.00003, 0.00001)
# and the IoU that may cost, or share of a distance: of what is missing anyhow a quarter, since a
# program that already fits exactly has the drawing's own numbers. Between these two bounds:
LOSSES = (0.0001, 0.0005)
MOST_SINGLE = 60  # coordinates that are tried one by one

Fit = Callable[[Mesh], float]


def with_user_numbers(candidate: Candidate, to_user: Placement, fit: Fit) -> UserProgram:
    """The program in the USER frame, its numbers round where that costs next to nothing.

    Args:
        candidate: PROGRAM frame.
        to_user: the way to the USER frame.
        fit: of a closed mesh, PROGRAM frame; larger is better.
    """
    missing = 1 - candidate.fit if candidate.fit > 0 else 1.0
    share = min(max(0.25 * missing, LOSSES[0]), LOSSES[1])
    loss = share * (1.0 if candidate.fit > 0 else -candidate.fit)
    for tolerance in ROUNDINGS:
        rounded = program_to_user(candidate.program, to_user, tolerance=tolerance)
        if _fit_of(rounded, to_user, fit) >= candidate.fit - loss:
            return _round_singly(candidate, to_user, fit, tolerance, loss)
    return program_to_user(candidate.program, to_user)


def _round_singly(
    candidate: Candidate, to_user: Placement, fit: Fit, tolerance: float, loss: float
) -> UserProgram:
    """Coordinates that may move further than all of them may together."""
    program, factors = candidate.program, dict[float, float]()
    best = program_to_user(program, to_user, tolerance=tolerance)
    coarser = [other / tolerance for other in ROUNDINGS if other > tolerance]
    now = _fit_of(best, to_user, fit)
    for coordinate in coordinates(program)[:MOST_SINGLE]:
        for factor in coarser:
            trial = {**factors, coordinate: factor}
            user = program_to_user(program, to_user, tolerance=tolerance, factors=trial)
            if user.program == best.program:
                continue
            if (found := _fit_of(user, to_user, fit)) >= now - loss / 10:
                factors, best, now = trial, user, max(now, found)
                break
    return best


def _fit_of(user: UserProgram, to_user: Placement, fit: Fit) -> float:
    """Fit of a program in the user's lengths by the fast kernel."""
    mesh = program_to_mesh(user.program).mesh
    if mesh is None:
        return -math.inf
    placed = mesh if user.rest is None else normalise(mesh, user.rest)
    try:
        return fit(normalise(placed, to_user.inverse()))
    except GeometryError:  # faces touch that did not before
        return -math.inf
