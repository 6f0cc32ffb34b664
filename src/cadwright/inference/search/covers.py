"""Proposed bodies -> whole programs for search to begin with: covers of several kinds compete.

In: blocks, candidates, what is known of the target. Out: pool entries with the fit of their
cells. One caution for wrongly filled cells is not enough, and bodies beyond the published dialect
win only where a cover without them is no better for its length. Not covered: the greedy choice
itself (``cover``), and what is kept (``search``).
"""

from __future__ import annotations

from collections.abc import Sequence

from cadwright.inference.search.budget import Budget
from cadwright.inference.search.cover import Block, cover, proposals_to_blocks, with_bodies
from cadwright.inference.search.evidence import Evidence
from cadwright.inference.search.objective import CellObjective
from cadwright.inference.search.pool import Entry
from cadwright.program.grammar import Program
from cadwright.program.program_to_voxels import program_to_voxels

CAUTIONS = (0.5, 1.0, 4.0, 20.0)  # of covers from nothing, see ``cover``
TIME_SHARE = 0.4  # of the time left, that extra bodies may take


def covers(
    starts: Sequence[Entry], blocks: list[Block], objective: CellObjective, *, price: float
) -> list[Entry]:
    """Covers from nothing, and one on top of each start; each program once."""
    bases: list[tuple[Program | None, float]] = [(None, caution) for caution in CAUTIONS]
    bases += [(entry.program, 1.0) for entry in starts]
    grid = objective.cells.grid
    found: dict[object, Entry] = {}
    for base, caution in bases:
        covered = grid.empty() if base is None else program_to_voxels(base, grid)
        chosen = cover(objective.cells, blocks, covered, caution=caution)
        if chosen:
            program = with_bodies(base, chosen)
            key = frozenset((program.planes[body.plane], body) for body in program.bodies)
            if key not in found:  # the order of a union does not matter
                score, new = objective.score(program), base is None
                found[key] = Entry(program, score, price, from_slices=new, read_off=new)
    return list(found.values())


def extra_covers(
    evidence: Evidence, blocks: list[Block], objective: CellObjective, budget: Budget
) -> list[Entry]:
    """Covers with bodies that slices do not show among them.

    Args:
        evidence: gives those bodies.
        blocks: of the slices.
        objective: scores the covers.
        budget: whose time left is shared.
    """
    deadline = budget.share(TIME_SHARE)
    extra = proposals_to_blocks(
        evidence.superset(), objective.cells, over=lambda: budget.now() > deadline
    )
    budget.charge(0.01 + 0.002 * len(extra))
    if not extra:
        return []
    found = covers([], extra + blocks, objective, price=evidence.price)
    if not evidence.sharp:
        found += covers([], extra, objective, price=evidence.price)
    return found
